// SPDX-License-Identifier: Apache-2.0

package system

import (
	"fmt"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// applyTaints applies the list of a node's taints from the server's side.
func (s *story) applyTaints(c client.Client, manager, node string, taints ...*corev1ac.TaintApplyConfiguration) error {
	return c.Apply(s.ctx, corev1ac.Node(node).WithSpec(corev1ac.NodeSpec().WithTaints(taints...)), client.FieldOwner(manager), client.ForceOwnership)
}

// A kubelet may not change taints. A kubelet may claim in three ways another manager's
// declaration of the taints, and no such claim keeps a taint off the node.
func TestTaintClaimsOfKubeletsAreIgnored(t *testing.T) {
	theirs := corev1ac.Taint().WithKey("theirs").WithEffect(corev1.TaintEffectNoSchedule)
	for name, forge := range map[string]func(s *story, kubelet client.Client, node string) error{
		"copy": func(s *story, kubelet client.Client, node string) error {
			return kubelet.Patch(s.ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}},
				annotationPatch(corev1.LastAppliedConfigAnnotation, `{"spec":{"taints":[{"key":"theirs","effect":"NoSchedule"}]}}`), client.FieldOwner(argoManager))
		},
		"apply": func(s *story, kubelet client.Client, node string) error {
			return s.applyTaints(kubelet, argoManager, node, theirs)
		},
		"manager": func(s *story, kubelet client.Client, node string) error {
			return kubelet.Patch(s.ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}}, client.RawPatch(types.MergePatchType, fmt.Appendf(nil,
				`{"metadata":{"managedFields":[{"manager":%q,"operation":"Apply","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"f:spec":{"f:taints":{}}}}]}}`,
				argoManager)), client.FieldOwner("kubelet"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := beginStory(t)
			node := s.createNodes(1)[0]
			s.Eventually(func() []corev1.Taint { return s.getNode(node).Spec.Taints }).Should(BeEmpty(), "Kubernetes has removed its own taints")
			s.patchObject(s.getNode(node), "somebody", `{"spec":{"taints":[{"key":"theirs","effect":"NoSchedule"}]}}`)
			kubelet := s.kubeletClient(node)
			s.Expect(s.applyTaints(kubelet, argoManager, node, corev1ac.Taint().WithKey("more").WithEffect(corev1.TaintEffectNoSchedule))).
				To(Satisfy(apierrors.IsForbidden), "the kubelet has a right to change taints")
			s.Expect(forge(s, kubelet, node)).To(Succeed())

			s.createObjects(s.onlyTaints(v1alpha1.Taint{Key: dedicated, Effect: corev1.TaintEffectNoSchedule}))
			s.startOperator()
			s.waitUntilReady(s.name)
			s.Expect(s.taintsOf(node)()).To(ConsistOf("theirs:NoSchedule", dedicated+":NoSchedule"))

			// Repeating the claim changes nothing either.
			_ = forge(s, kubelet, node) // an apply without the new taint is refused
			s.waitUntilQuiet()
			s.Expect(s.conditionOf(s.name, v1alpha1.ConditionReady)()).To(Equal(asDeclared))
			s.Expect(s.taintsOf(node)()).To(ConsistOf("theirs:NoSchedule", dedicated+":NoSchedule"))
		})
	}
}

// A manager with the right to write taints, who declares another value, is left alone.
func TestDeclaredTaintOfAnotherValueStays(t *testing.T) {
	s := beginStory(t)
	node := s.createNodes(1)[0]
	s.Eventually(func() []corev1.Taint { return s.getNode(node).Spec.Taints }).Should(BeEmpty(), "Kubernetes has removed its own taints")
	s.Expect(s.applyTaints(s.admin, "gitops", node, corev1ac.Taint().WithKey(dedicated).WithValue("x").WithEffect(corev1.TaintEffectNoSchedule))).To(Succeed())
	mark := s.markAuditLog()
	s.createObjects(s.onlyTaints(v1alpha1.Taint{Key: dedicated, Effect: corev1.TaintEffectNoSchedule}))
	s.startOperator()
	s.Eventually(s.conditionOf(s.name, v1alpha1.ConditionTaintsInSync)).Should(Equal("False/Conflicted"))
	s.waitUntilQuiet()
	s.Expect(s.messageOf(s.name, v1alpha1.ConditionTaintsInSync)).To(ContainSubstring("gitops declares it as x"))
	s.Expect(s.writesOf(mark, "nodes", node)).To(BeEmpty())
	s.Expect(s.taintsOf(node)()).To(ConsistOf(dedicated + "=x:NoSchedule"))
}
