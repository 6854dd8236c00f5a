// SPDX-License-Identifier: Apache-2.0

package timing_test

import (
	"os"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// A leader stops before the next one starts, and the documented time to take
// over is right for the longest time between two looks at a lease.
func TestNextLeaderTakesOverInTheDocumentedTime(t *testing.T) {
	g := NewWithT(t)
	look := timing.LeaseRetry + time.Duration(leaderelection.JitterFactor*float64(timing.LeaseRetry))
	takeOver := timing.LeaseDuration + 2*look
	g.Expect(takeOver).To(BeNumerically("<=", 17*time.Second), "docs/where-it-runs.md and LeaseDuration say 17 seconds")
	g.Expect(takeOver).To(BeNumerically(">", 16*time.Second), "docs/where-it-runs.md and LeaseDuration say 17 seconds")
	g.Expect(takeOver+look).To(BeNumerically("<", timing.LeaderPatience), "an uninstallation waits for the next leader")
	g.Expect(timing.LeaseRetry+timing.LeaseRenewal).To(BeNumerically("<", timing.LeaseDuration-time.Second), "two leaders at once")
}

// The operator stops by itself before the kubelet kills it.
func TestOperatorEndsBeforeItIsKilled(t *testing.T) {
	g := NewWithT(t)
	text, err := os.ReadFile("../../config/manager/manager.yaml")
	g.Expect(err).NotTo(HaveOccurred())
	deployment := appsv1.Deployment{}
	g.Expect(yaml.Unmarshal(text, &deployment)).To(Succeed())
	kill := time.Duration(ptr.Deref(deployment.Spec.Template.Spec.TerminationGracePeriodSeconds, 30)) * time.Second
	g.Expect(timing.Grace).To(BeNumerically("<", kill))
}
