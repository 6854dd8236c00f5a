// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"errors"
	"fmt"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// evicting returns nodes for which a policy declares an evicting taint. The
// operator runs on the first node and can move to none.
func evicting(count int) ([]*corev1.Node, []plan.Policy, func(stuck plan.Stuck) *plan.Shelter) {
	policy := v1alpha1.ControlPlaneNetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "p", UID: "u", ResourceVersion: "1", Generation: 1, Finalizers: []string{v1alpha1.Finalizer}},
		Spec: v1alpha1.ControlPlaneNetworkPolicySpec{
			Mode:         v1alpha1.ModeEnforce,
			NodeSelector: v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"in": ""}},
			Taints:       []v1alpha1.Taint{{Key: "maintenance", Effect: corev1.TaintEffectNoExecute, AllowEviction: true}},
		},
	}
	policy.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionVerified, Status: metav1.ConditionTrue, ObservedGeneration: 1}}
	nodes := make([]*corev1.Node, count)
	for i := range nodes {
		nodes[i] = &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("n-%d", i), Labels: map[string]string{"in": ""}}}
		nodes[i].Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	}
	policies := plan.Compile([]v1alpha1.ControlPlaneNetworkPolicy{policy})
	operator := state.Operator{
		Own:     state.Own{Pod: types.NamespacedName{Namespace: "n", Name: "operator"}},
		Running: []corev1.Pod{{Spec: corev1.PodSpec{NodeName: "n-0"}}},
	}
	return nodes, policies, func(stuck plan.Stuck) *plan.Shelter { return plan.NewShelter(operator, nodes, policies, stuck) }
}

// However many nodes wait, one look at the cluster, repeated from time to time, serves all of them.
func TestWaitingNodesShareOneLook(t *testing.T) {
	const count = 1000
	g := NewWithT(t)
	nodes, policies, shelter := evicting(count)
	s, now, looks := &Shelters{}, time.Unix(9, 0), 0
	round := func(nodes []*corev1.Node) (again time.Duration) {
		for i := range nodes {
			claims, _ := plan.TaintClaims(nodes[i], policies)
			var err error
			again, err = s.Hold(nodes[i], claims, policies, now, func() (*plan.Shelter, error) { looks++; return shelter(nil), nil })
			g.Expect(err).NotTo(HaveOccurred())
		}
		return again
	}
	g.Expect(round(nodes[1:])).To(Equal((count-1)*timing.HeldTaintSpacing), "no more than 50 nodes are reconciled in a second")
	g.Expect(looks).To(Equal(1))
	now = now.Add(timing.HeldTaintCheck - time.Second)
	round(nodes[1:])
	g.Expect(looks).To(Equal(1))
	now = now.Add(time.Second)
	round(nodes[1:])
	g.Expect(looks).To(Equal(2), "the last look is old")
	policies[0].ResourceVersion = "2"
	round(nodes[1:])
	g.Expect(looks).To(Equal(3), "other policies have other declarations")
	round(nodes[:1])
	g.Expect(looks).To(Equal(4), "only a new look shows whether the operator itself is evicted")
	for i := range nodes[2:] {
		s.Free(nodes[2+i].Name)
	}
	g.Expect(round(nodes[1:2])).To(Equal(timing.HeldTaintCheck), "a few nodes are reconciled soon again")

	_, err := s.Hold(nodes[0], []plan.Claim{}, policies, now, func() (*plan.Shelter, error) { return nil, errors.New("no cache") })
	g.Expect(err).To(HaveOccurred())
}
