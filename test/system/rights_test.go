// SPDX-License-Identifier: Apache-2.0

package system

import (
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// Every shipped right is used, and no other right is needed.
func TestShippedRightsAreUsedAndSuffice(t *testing.T) {
	s := beginStory(t)
	mark := s.markAuditLog()
	node := s.createNodes(1)[0]
	s.createService("web", corev1.ServiceTypeClusterIP)
	policy := s.newPolicy()
	policy.Spec.Taints = append(policy.Spec.Taints, v1alpha1.Taint{Key: "evicting", Effect: corev1.TaintEffectNoExecute, AllowEviction: true})
	policy.Spec.Mode = v1alpha1.ModeAudit
	// No observer runs here, so there are no probes.
	policy.Spec.Profile.Distribution = "kubeadm"
	policy.Spec.Posture = &v1alpha1.PostureSpec{TLS: &v1alpha1.TLSPosture{Components: []v1alpha1.PostureComponent{v1alpha1.PostureKubelet}}}
	s.createObjects(policy)
	s.startOperator()
	s.changePosture(node)
	s.Eventually(s.conditionOf(s.name, v1alpha1.ConditionReady)).Should(Equal("True/Audited"))
	s.editPolicy(s.name, func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) { spec.Mode = v1alpha1.ModeEnforce })
	s.waitUntilReady(s.name)
	s.patchObject(s.getNode(node), "mallory", `{"spec":{"taints":[]}}`)
	s.Eventually(s.eventsOf(s.name)).Should(ContainElement(HaveField("Reason", "DriftCorrected")))
	s.editPolicy(s.name, func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) { spec.Taints = spec.Taints[:1] })
	s.Eventually(s.recordedTaints(node)).Should(HaveLen(1))
	s.deletePolicy(s.name)

	logged, err := s.cluster.Audit().Since(mark)
	s.Expect(err).NotTo(HaveOccurred())
	shipped, err := testbed.Rights(roleFile)
	s.Expect(err).NotTo(HaveOccurred())
	used := testbed.RightsUsed(logged, operatorUser)
	for _, right := range shipped {
		needsCalico := strings.Contains(right, "projectcalico.org/") || strings.Contains(right, "/controlplanenodeenactments")
		if needsCalico && !slices.Contains(used, right) {
			continue // no Calico runs here: see test/modes
		}
		s.Expect(used).To(ContainElement(right), "a shipped right is never used")
		used = slices.DeleteFunc(used, func(r string) bool { return r == right })
	}
	s.Expect(used).To(BeEmpty(), "requests without a right")
}

// changePosture has the operator write, change and clean up the posture of a node.
func (s *story) changePosture(node string) {
	s.t.Helper()
	posture := &v1alpha1.ControlPlaneNodePosture{}
	key := client.ObjectKey{Name: s.name + "." + node}
	s.Eventually(func() error { return s.admin.Get(s.t.Context(), key, posture) }).Should(Succeed())
	posture.Status.Observers = []v1alpha1.TLSObservation{{Name: "gone", Time: ptr.To(metav1.Now())}}
	s.Expect(s.admin.Status().Update(s.t.Context(), posture)).To(Succeed())
	s.Eventually(func() []v1alpha1.TLSObservation {
		s.Expect(s.admin.Get(s.t.Context(), key, posture)).To(Succeed())
		return posture.Status.Observers
	}).Should(BeEmpty(), "observers of deleted nodes are removed")
	s.editPolicy(s.name, func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) { spec.Posture.TLS.IntervalSeconds = 600 })
	s.Eventually(func() int32 {
		s.Expect(s.admin.Get(s.t.Context(), key, posture)).To(Succeed())
		return posture.Spec.IntervalSeconds
	}).Should(BeEquivalentTo(600))
}
