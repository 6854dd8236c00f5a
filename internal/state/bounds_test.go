// SPDX-License-Identifier: Apache-2.0

package state_test

import (
	"fmt"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

func TestLabelsThatKubeletsMayNotSetAreKept(t *testing.T) {
	g := NewWithT(t)
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{
		"node-role.kubernetes.io/control-plane": "", "node-restriction.kubernetes.io/probe": "true", "example.com/zone": "a",
	}}}
	g.Expect(through(t, state.TransformNode, node).Labels).To(Equal(node.Labels))
	for i := range 2000 {
		node.Labels[fmt.Sprintf("kubelet.kubernetes.io/a-%d", i)] = "x"
	}
	slim := through(t, state.TransformNode, node)
	g.Expect(len(slim.Labels)).To(BeNumerically("<", 1000))
	g.Expect(slim.Labels).To(And(HaveKey("node-role.kubernetes.io/control-plane"),
		HaveKey("node-restriction.kubernetes.io/probe"), HaveKey("example.com/zone")))
}

// large returns a NetworkPolicy of the operator that is too large to be kept whole.
func large(t *testing.T, first string) *networkingv1.NetworkPolicy {
	policy := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{
		Namespace: "kube-system", Name: "cpnp.p.a", Labels: map[string]string{v1alpha1.LabelPolicy: "p"},
	}}
	rule := networkingv1.NetworkPolicyIngressRule{From: []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: first}}}}
	for i := range 4000 {
		rule.From = append(rule.From, networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: fmt.Sprintf("10.1.%d.%d/32", i/256, i%256)}})
	}
	policy.Spec.Ingress = []networkingv1.NetworkPolicyIngressRule{rule}
	NewWithT(t).Expect(plan.Stamp(policy)).To(Succeed())
	return policy
}

func TestLargeNetworkPolicyIsComparedByItsHash(t *testing.T) {
	g := NewWithT(t)
	desired := large(t, "10.0.0.1/32")
	live := desired.DeepCopy()
	live.ManagedFields = []metav1.ManagedFieldsEntry{
		manages("somebody", `{"f:spec":{"f:`+strings.Repeat("x", 100_000)+`":{}}}`), manages(v1alpha1.FieldManagerNetwork, `{"f:spec":{}}`),
	}
	live.Annotations["example.com/large"] = strings.Repeat("x", 100_000)
	slim := through(t, state.TransformNetworkPolicy, live)
	g.Expect(slim.Size()).To(BeNumerically("<", 4096))
	g.Expect(backend.IsWrittenByOperator(slim)).To(BeTrue(), "the operator's label is kept")
	g.Expect(drift.CompareOwned(&plan.Policy{ControlPlaneNetworkPolicy: &v1alpha1.ControlPlaneNetworkPolicy{}}, desired, slim, true)).To(BeEmpty(),
		"what is as declared is not written again and again")

	other := through(t, state.TransformNetworkPolicy, large(t, "0.0.0.0/0"))
	other.Annotations[v1alpha1.AnnotationDesiredHash] = desired.Annotations[v1alpha1.AnnotationDesiredHash]
	g.Expect(drift.CompareOwned(&plan.Policy{ControlPlaneNetworkPolicy: &v1alpha1.ControlPlaneNetworkPolicy{}}, desired, other, true)).To(
		HaveExactElements(HaveField("Field", "spec")), "a rule of others is drift")

	small := desired.DeepCopy()
	small.Spec.Ingress[0].From = small.Spec.Ingress[0].From[:10]
	g.Expect(through(t, state.TransformNetworkPolicy, small)).To(Equal(small), "a NetworkPolicy of normal size is kept whole")
}
