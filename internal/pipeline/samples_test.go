// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"os"
	"testing"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/calicotest"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/verify"
)

// The sample for hosts is verified, and effective after the rollout. With open failsafe ports
// the sample would not be effective.
func TestSampleForHostsCanBecomeReady(t *testing.T) {
	sample := &v1alpha1.ControlPlaneNetworkPolicy{}
	text, err := os.ReadFile("../../config/samples/hosts.yaml")
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	NewWithT(t).Expect(yaml.UnmarshalStrict(text, sample)).To(Succeed())

	t.Run("as it is", func(t *testing.T) {
		g := NewWithT(t)
		verified, effective := rolledOut(t, sample)
		g.Expect(verified.Holds).To(BeTrue(), verified.Message)
		g.Expect(effective.Holds).To(BeTrue(), effective.Reason+": "+effective.Message)
	})
	t.Run("with open failsafe ports", func(t *testing.T) {
		kept := sample.DeepCopy()
		kept.Spec.Network.Failsafe = v1alpha1.FailsafeKeep
		_, effective := rolledOut(t, kept)
		NewWithT(t).Expect(effective.Reason).To(Equal(v1alpha1.ReasonFailsafePorts))
	})
}

// rolledOut rolls a policy out to a cluster in memory, and returns the verdicts at the end.
func rolledOut(t *testing.T, policy *v1alpha1.ControlPlaneNetworkPolicy) (verified, effective verify.Verdict) {
	w := newLoop(t, 22)
	calicotest.Edit(&w.there.Backend, func(c *calico.Live) {
		c.Pools = []v3.IPPool{{ObjectMeta: metav1.ObjectMeta{Name: "pods"}, Spec: v3.IPPoolSpec{CIDR: "10.244.0.0/16"}}}
	})
	w.there.Policies[0].Spec.Network = policy.Spec.Network
	w.there.Policies[0].Spec.Profile.LoadBalancer = policy.Spec.Profile.LoadBalancer
	const enough, quiet = 300, 40
	for steps, still := 0, 0; still < quiet && steps < enough; steps++ {
		if still++; w.step() {
			still = 0
		}
	}
	policies := plan.Compile(w.there.Policies)
	o := assess(&policies[0], policies, w.there)
	return o.Verdict, o.effectiveOnHosts()
}
