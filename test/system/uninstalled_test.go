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

// Deleting the CustomResourceDefinition deletes the policies: their originals are restored,
// and the operator waits for the definition.
func TestDefinitionIsRemovedAndInstalledAgain(t *testing.T) {
	const (
		away = 3 * time.Second
		// A watch that cannot start is tried again after 0.8 s, 1.6 s and so on, each up to
		// twice as long (client-go/tools/cache/reflector.go).
		back = 45 * time.Second
	)
	s := beginStory(t)
	node := s.createNodes(1)[0]
	s.createService("web", corev1.ServiceTypeClusterIP)
	s.Eventually(func() []corev1.Taint { return s.getNode(node).Spec.Taints }).Should(BeEmpty(), "Kubernetes finds the node ready")
	before := s.readPosture()
	policy := s.newPolicy()
	s.createObjects(policy.DeepCopy())
	log := &journal{}
	s.startOperatorAs(s.rights, func(o *ctrl.Options) { o.Logger = log.newLogger() })
	s.waitUntilReady(s.name)
	after := s.readPosture()
	s.Expect(after).NotTo(Equal(before))
	s.waitUntilQuiet()

	definition := &unstructured.Unstructured{}
	definition.SetAPIVersion("apiextensions.k8s.io/v1")
	definition.SetKind("CustomResourceDefinition")
	definition.SetName("controlplanenetworkpolicies.cpnp.dev")
	s.Expect(s.admin.Delete(s.ctx, definition)).To(Succeed())
	t.Cleanup(func() { s.installDefinition() })
	s.Eventually(func() bool {
		return apierrors.IsNotFound(s.admin.Get(s.ctx, client.ObjectKeyFromObject(definition), definition.DeepCopy()))
	}).Should(BeTrue(), "a finalizer keeps the definition")
	s.Expect(s.readPosture()).To(Equal(before), "originals are restored")

	mark := s.markAuditLog()
	s.patchObject(s.getNode(node), "visitor", `{"spec":{"taints":[{"key":"theirs","effect":"NoSchedule"}]}}`)
	s.Consistently(s.taintsOf(node), away).Should(ConsistOf("theirs:NoSchedule"))
	asked := s.requestsSince(mark)
	s.Expect(asked.Repairs).To(BeEmpty(), asked.String)
	s.Expect(asked.countAll()).To(BeNumerically("<=", 10), asked.String)
	s.patchObject(s.getNode(node), "visitor", `{"spec":{"taints":null}}`)

	s.installDefinition()
	since := time.Now()
	s.createObjects(policy)
	s.Eventually(s.conditionOf(s.name, v1alpha1.ConditionReady)).WithTimeout(back).Should(Equal("True/AsDeclared"))
	s.Expect(s.readPosture()).To(Equal(after))
	t.Logf("%d requests in %s without the definition; ready %s after it came back", asked.countAll(), away, time.Since(since).Round(100*time.Millisecond))
	s.driftEverything(node)
	s.Eventually(s.readPosture).Should(Equal(after))
	s.Expect(log.linesWith("panic")).To(BeEmpty())
}

// installDefinition installs the CustomResourceDefinition, if missing.
func (s *story) installDefinition() {
	s.t.Helper()
	_, err := envtest.InstallCRDs(s.cluster.Config, envtest.CRDInstallOptions{Paths: []string{"../../config/crd/bases"}, ErrorIfPathMissing: true})
	s.Expect(err).NotTo(HaveOccurred())
}
