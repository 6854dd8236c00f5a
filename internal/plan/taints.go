// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// Taints returns which taints the node should have. Policies come oldest first.
func Taints(node *corev1.Node, policies []Policy) (claims []Claim, losses []Loss) {
	var all []Claim
	for i := range policies {
		policy := &policies[i]
		if !policy.Claims() || !policy.Selects(node) {
			continue
		}
		for _, taint := range policy.Spec.Taints {
			all = append(all, Claim{Field: state.TaintField(taint.Key, taint.Effect), Want: taint.Value, Policy: policy})
		}
	}
	return settle("Node/"+node.Name, all)
}

// DeclaresTaint says whether the policy declares the taint for the node, whatever
// else it does at present.
func (p *Policy) DeclaresTaint(node *corev1.Node, field string) bool {
	return p.Selects(node) && slices.ContainsFunc(p.Spec.Taints, func(t v1alpha1.Taint) bool {
		return state.TaintField(t.Key, t.Effect) == field
	})
}
