// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"slices"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

const evicting = "maintenance"

// shelterOf is a cluster of these nodes with the operator on the first. All
// nodes get an evicting taint, except those with the label spared.
func shelterOf(pod corev1.Pod, nodes ...*corev1.Node) (*Shelter, []Policy) {
	policies := Compile([]v1alpha1.ControlPlaneNetworkPolicy{{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Generation: 1, Finalizers: []string{v1alpha1.Finalizer}},
		Spec: v1alpha1.ControlPlaneNetworkPolicySpec{
			Mode: v1alpha1.ModeEnforce,
			NodeSelector: v1alpha1.LabelSelector{MatchExpressions: []v1alpha1.LabelSelectorRequirement{
				{Key: "spared", Operator: "DoesNotExist"},
			}},
			Taints: []v1alpha1.Taint{{Key: evicting, Effect: corev1.TaintEffectNoExecute, AllowEviction: true}},
		},
		Status: v1alpha1.ControlPlaneNetworkPolicyStatus{Conditions: []metav1.Condition{
			{Type: v1alpha1.ConditionVerified, Status: metav1.ConditionTrue, ObservedGeneration: 1},
		}},
	}})
	operator := state.Operator{Own: state.Own{Pod: types.NamespacedName{Namespace: "cpnp-system", Name: "operator"}}, Running: []corev1.Pod{pod}}
	return NewShelter(operator, nodes, policies, func(*corev1.Node, Claim) bool { return false }), policies
}

func ready(name string, change ...func(*corev1.Node)) *corev1.Node {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{}}}
	node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	for _, c := range change {
		c(node)
	}
	return node
}

func spared(n *corev1.Node)  { n.Labels["spared"] = "" }
func unready(n *corev1.Node) { n.Status.Conditions[0].Status = corev1.ConditionUnknown }
func tainted(key string, effect corev1.TaintEffect) func(*corev1.Node) {
	return func(n *corev1.Node) { n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: key, Effect: effect}) }
}

func TestTaintsThatEvictTheOperator(t *testing.T) {
	on := func(change ...func(*corev1.Pod)) corev1.Pod {
		pod := corev1.Pod{Spec: corev1.PodSpec{NodeName: "a"}}
		for _, c := range change {
			c(&pod)
		}
		return pod
	}
	tolerating := func(t corev1.Toleration) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Spec.Tolerations = append(p.Spec.Tolerations, t) }
	}
	forever := tolerating(corev1.Toleration{Key: evicting, Operator: corev1.TolerationOpExists})
	seconds := int64(60)
	const nowhere, last = "no node would be left", "the operator runs on this node"
	for name, test := range map[string]struct {
		pod   corev1.Pod
		nodes []*corev1.Node
		// first and second are the reasons of the hold on the first two nodes.
		first, second string
	}{
		"every node":                                               {on(), []*corev1.Node{ready("a"), ready("b")}, nowhere, nowhere},
		"every node, tolerated":                                    {on(forever), []*corev1.Node{ready("a"), ready("b")}, "", ""},
		"every node, tolerated for a while":                        {on(tolerating(corev1.Toleration{Key: evicting, Operator: corev1.TolerationOpExists, TolerationSeconds: &seconds})), []*corev1.Node{ready("a"), ready("b")}, nowhere, nowhere},
		"one node is spared":                                       {on(), []*corev1.Node{ready("a"), ready("b"), ready("c", spared)}, last, ""},
		"the leader's node is the last one":                        {on(), []*corev1.Node{ready("a"), ready("b", tainted(evicting, corev1.TaintEffectNoExecute)), ready("c", spared)}, "", ""},
		"the operator tolerates the taint, and one node is spared": {on(forever), []*corev1.Node{ready("a"), ready("b"), ready("c", spared)}, "", ""},
		"the spared node is not ready":                             {on(), []*corev1.Node{ready("a"), ready("b"), ready("c", spared, unready)}, nowhere, nowhere},
		"the spared node is cordoned":                              {on(), []*corev1.Node{ready("a"), ready("b"), ready("c", spared, tainted("node.kubernetes.io/unschedulable", corev1.TaintEffectNoSchedule))}, nowhere, nowhere},
		"the operator's node selector excludes the spared node":    {on(func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"disk": "ssd"} }), []*corev1.Node{ready("a"), ready("b"), ready("c", spared)}, nowhere, nowhere},
		"the scheduler avoids the spared node":                     {on(), []*corev1.Node{ready("a"), ready("b"), ready("c", spared, tainted("x", corev1.TaintEffectPreferNoSchedule))}, last, ""},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			shelter, policies := shelterOf(test.pod, test.nodes...)
			for i, want := range []string{test.first, test.second} {
				claims, _ := TaintClaims(test.nodes[i], policies)
				shelter.HoldEvictions(test.nodes[i], claims)
				g.Expect(claims).To(HaveLen(1))
				if want == "" {
					g.Expect(claims[0].HoldReason).To(BeEmpty(), test.nodes[i].Name)
				} else {
					g.Expect(claims[0].HoldReason).To(And(ContainSubstring(want), ContainSubstring("{key: maintenance, operator: Exists, effect: NoExecute}")), test.nodes[i].Name)
				}
			}
		})
	}
}

// The leader's node waits for the nodes that are to get the taint, and names
// them; it does not wait for nodes that never get it.
func TestLeadersNodeWaitsForTheOtherNodes(t *testing.T) {
	nodes := []*corev1.Node{ready("a"), ready("c"), ready("b"), ready("d", spared)}
	held := func(stuck ...string) string {
		shelter, policies := shelterOf(corev1.Pod{Spec: corev1.PodSpec{NodeName: "a"}}, nodes...)
		shelter.stuck = func(n *corev1.Node, c Claim) bool {
			return c.Field == evicting+":NoExecute" && slices.Contains(stuck, n.Name)
		}
		claims, _ := TaintClaims(nodes[0], policies)
		shelter.HoldEvictions(nodes[0], claims)
		return claims[0].HoldReason
	}
	g := NewWithT(t)
	g.Expect(held()).To(ContainSubstring("it waits for b, c"))
	g.Expect(held("b")).To(ContainSubstring("it waits for c"))
	g.Expect(held("b", "c")).To(BeEmpty())

	shelter, policies := shelterOf(corev1.Pod{Spec: corev1.PodSpec{NodeName: "a"}}, nodes...)
	verified := shelter.policies[0].Status.Conditions
	shelter.policies[0].Status.Conditions = nil
	claims, _ := TaintClaims(nodes[0], policies)
	shelter.HoldEvictions(nodes[0], claims)
	g.Expect(claims[0].HoldReason).NotTo(BeEmpty(), "the policy may be verified soon")

	shelter, policies = shelterOf(corev1.Pod{Spec: corev1.PodSpec{NodeName: "a"}}, nodes...)
	refused := slices.Clone(verified)
	refused[0].Status = metav1.ConditionFalse
	shelter.policies[0].Status.Conditions = refused
	claims, _ = TaintClaims(nodes[0], policies)
	shelter.HoldEvictions(nodes[0], claims)
	g.Expect(claims[0].HoldReason).To(BeEmpty(), "nothing is written for the policy, on any node")
}

func TestOperatorWhosePodIsUnknownIsNotEvicted(t *testing.T) {
	g := NewWithT(t)
	nodes := []*corev1.Node{ready("a"), ready("b", spared)}
	shelter, policies := shelterOf(corev1.Pod{}, nodes...)
	hold := func() string {
		claims, _ := TaintClaims(nodes[0], policies)
		shelter.HoldEvictions(nodes[0], claims)
		return claims[0].HoldReason
	}
	shelter.operator.Running = nil
	g.Expect(hold()).To(ContainSubstring("POD_NAME"))
	shelter.operator.Pod = types.NamespacedName{}
	g.Expect(hold()).To(BeEmpty(), "the operator runs outside of the cluster")
}

// A node that waits for its evicting taint gets all other taints.
func TestOnlyTheEvictingTaintIsPostponed(t *testing.T) {
	g := NewWithT(t)
	policies := Compile([]v1alpha1.ControlPlaneNetworkPolicy{{}})
	claims := []Claim{
		{Field: "a:NoSchedule", Want: "x", Policy: &policies[0]}, {Field: "b:NoExecute", Want: "x", Policy: &policies[0]},
		{Field: "c:NoExecute", Want: "x", Policy: &policies[0]},
	}
	node := &corev1.Node{Spec: corev1.NodeSpec{Taints: []corev1.Taint{{Key: "c", Value: "x", Effect: corev1.TaintEffectNoExecute}}}}
	PostponeEvictions(node, claims)
	g.Expect(claims[0].HoldReason).To(BeEmpty())
	g.Expect(claims[1].HoldReason).To(ContainSubstring("other nodes come first"))
	g.Expect(claims[2].HoldReason).To(BeEmpty(), "the taint is there already")
}
