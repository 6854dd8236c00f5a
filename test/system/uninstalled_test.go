// SPDX-License-Identifier: Apache-2.0

package system

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// Deleting the CustomResourceDefinition deletes the policies: what they wrote is
// taken back, and the operator waits for the definition to come back.
func TestDefinitionIsTakenAwayAndComesBack(t *testing.T) {
	const (
		away = 3 * time.Second
		// A watch that can not begin is tried again after 0.8 s, 1.6 s and so
		// on, each up to twice as long (client-go/tools/cache/reflector.go).
		back = 45 * time.Second
	)
	s := begin(t)
	node := s.nodes(1)[0]
	s.service("web", corev1.ServiceTypeClusterIP)
	s.Eventually(func() []corev1.Taint { return s.node(node).Spec.Taints }).Should(BeEmpty(), "Kubernetes finds the node ready")
	before := s.posture()
	policy := s.policy()
	s.create(policy.DeepCopy())
	log := &journal{}
	s.operatorAs(operatorConfig, func(o *ctrl.Options) { o.Logger = log.logger() })
	s.ready(s.name)
	after := s.posture()
	s.Expect(after).NotTo(Equal(before))
	s.quiet()

	definition := &unstructured.Unstructured{}
	definition.SetAPIVersion("apiextensions.k8s.io/v1")
	definition.SetKind("CustomResourceDefinition")
	definition.SetName("controlplanenetworkpolicies.cpnp.dev")
	s.Expect(admin.Delete(s.ctx, definition)).To(Succeed())
	t.Cleanup(func() { s.define() })
	s.Eventually(func() bool {
		return apierrors.IsNotFound(admin.Get(s.ctx, client.ObjectKeyFromObject(definition), definition.DeepCopy()))
	}).Should(BeTrue(), "no finalizer keeps it")
	s.Expect(s.posture()).To(Equal(before), "what was written is taken back")

	mark := s.mark()
	s.patch(s.node(node), "visitor", `{"spec":{"taints":[{"key":"theirs","effect":"NoSchedule"}]}}`)
	s.Consistently(s.taints(node), away).Should(ConsistOf("theirs:NoSchedule"))
	asked := s.requestsSince(mark)
	s.Expect(asked.Repairs).To(BeEmpty(), asked.String)
	s.Expect(asked.all()).To(BeNumerically("<=", 10), asked.String)
	s.patch(s.node(node), "visitor", `{"spec":{"taints":null}}`)

	s.define()
	since := time.Now()
	s.create(policy)
	s.Eventually(s.condition(s.name, v1alpha1.ConditionReady)).WithTimeout(back).Should(Equal("True/AsDeclared"))
	s.Expect(s.posture()).To(Equal(after))
	t.Logf("%d requests in %s without the definition; ready %s after it came back", asked.all(), away, time.Since(since).Round(100*time.Millisecond))
	s.disturb(node)
	s.Eventually(s.posture).Should(Equal(after))
	s.Expect(log.with("panic")).To(BeEmpty())
}

// define installs the CustomResourceDefinition, if it is not there.
func (s *story) define() {
	s.t.Helper()
	_, err := envtest.InstallCRDs(cluster.Config, envtest.CRDInstallOptions{Paths: []string{"../../config/crd/bases"}, ErrorIfPathMissing: true})
	s.Expect(err).NotTo(HaveOccurred())
}
