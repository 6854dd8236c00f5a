// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// node returns a control-plane node.
func node(name string, taints ...corev1.Taint) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{controlPlane: ""}},
		Spec:       corev1.NodeSpec{Taints: taints},
	}
}

// claim is a plan.Claim that can be compared.
type claim struct{ Field, Want, Policy, HeldBack, NotApplicable string }

func plain(claims []plan.Claim) []claim {
	var out []claim
	for _, c := range claims {
		out = append(out, claim{c.Field, c.Want, c.Policy.Name, c.HoldReason, c.NotApplicable})
	}
	return out
}

func TestTaintsOfTheOldestPolicyDecide(t *testing.T) {
	noSchedule := func(key, value string) v1alpha1.Taint {
		return v1alpha1.Taint{Key: key, Value: value, Effect: corev1.TaintEffectNoSchedule}
	}
	noExecute := v1alpha1.Taint{Key: "a", Value: "x", Effect: corev1.TaintEffectNoExecute, AllowEviction: true}
	tests := map[string]struct {
		policies []v1alpha1.ControlPlaneNetworkPolicy
		claims   []claim
		losses   []plan.Loss
	}{
		"A policy claims its taints in their order": {
			policies: []v1alpha1.ControlPlaneNetworkPolicy{policy("p", taints(noSchedule("b", "1"), noSchedule("a", "")))},
			claims:   []claim{{Field: "b:NoSchedule", Want: "1", Policy: "p"}, {Field: "a:NoSchedule", Policy: "p"}},
		},
		"Of two values for a taint, that of the older policy is taken, and the younger policy loses": {
			policies: []v1alpha1.ControlPlaneNetworkPolicy{
				policy("old", taints(noSchedule("a", "1"))), policy("young", taints(noSchedule("a", "2"), noSchedule("b", ""))),
			},
			claims: []claim{{Field: "a:NoSchedule", Want: "1", Policy: "old"}, {Field: "b:NoSchedule", Policy: "young"}},
			losses: []plan.Loss{{Policy: "young", Winner: "old", What: "a:NoSchedule of Node/cp-1"}},
		},
		"A younger policy with the same value loses too, because the older policy decides on the taint": {
			policies: []v1alpha1.ControlPlaneNetworkPolicy{
				policy("old", taints(noSchedule("a", "1"))), policy("young", taints(noSchedule("a", "1"))),
			},
			claims: []claim{{Field: "a:NoSchedule", Want: "1", Policy: "old"}},
			losses: []plan.Loss{{Policy: "young", Winner: "old", What: "a:NoSchedule of Node/cp-1"}},
		},
		"One key with two effects is two taints": {
			policies: []v1alpha1.ControlPlaneNetworkPolicy{policy("old", taints(noSchedule("a", "1"))), policy("young", taints(noExecute))},
			claims:   []claim{{Field: "a:NoSchedule", Want: "1", Policy: "old"}, {Field: "a:NoExecute", Want: "x", Policy: "young"}},
		},
		"An older policy in mode Audit decides too": {
			policies: []v1alpha1.ControlPlaneNetworkPolicy{
				policy("old", audits, taints(noSchedule("a", "1"))), policy("young", taints(noSchedule("a", "2"))),
			},
			claims: []claim{{Field: "a:NoSchedule", Want: "1", Policy: "old"}},
			losses: []plan.Loss{{Policy: "young", Winner: "old", What: "a:NoSchedule of Node/cp-1"}},
		},
		"An older policy decides nothing while it is deleted, selects other nodes or selects none": {
			policies: []v1alpha1.ControlPlaneNetworkPolicy{
				policy("deleted", deleted, taints(noSchedule("a", "1"))),
				policy("elsewhere", selectsWorkers, taints(noSchedule("a", "2"))),
				policy("invalid", selectsBadly, taints(noSchedule("a", "3"))),
				policy("young", taints(noSchedule("a", "4"))),
			},
			claims: []claim{{Field: "a:NoSchedule", Want: "4", Policy: "young"}},
		},
		"Three policies with the same taint make one claim and two losses to the same winner": {
			policies: []v1alpha1.ControlPlaneNetworkPolicy{
				policy("1st", taints(noSchedule("a", "1"))), policy("2nd", taints(noSchedule("a", "2"))), policy("3rd", taints(noSchedule("a", "3"))),
			},
			claims: []claim{{Field: "a:NoSchedule", Want: "1", Policy: "1st"}},
			losses: []plan.Loss{
				{Policy: "2nd", Winner: "1st", What: "a:NoSchedule of Node/cp-1"},
				{Policy: "3rd", Winner: "1st", What: "a:NoSchedule of Node/cp-1"},
			},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			node := node("cp-1")
			claims, losses := plan.TaintClaims(node, compile(test.policies...))
			if diff := cmp.Diff(test.claims, plain(claims)); diff != "" {
				t.Errorf("claims (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.losses, losses); diff != "" {
				t.Errorf("losses (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTaintFieldNamesATaintByKeyAndEffect(t *testing.T) {
	g := NewWithT(t)
	field := state.TaintField(controlPlane, corev1.TaintEffectPreferNoSchedule)
	g.Expect(field).To(Equal("node-role.kubernetes.io/control-plane:PreferNoSchedule"), "existing records in clusters have this form")
	key, effect := state.ParseTaintField(field)
	g.Expect(key).To(Equal(controlPlane))
	g.Expect(effect).To(Equal(corev1.TaintEffectPreferNoSchedule))
}
