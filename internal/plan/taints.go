// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// TaintClaims returns the claims on a node's taints, and the claims that lost. policies are
// sorted from oldest to newest.
func TaintClaims(node *corev1.Node, policies []Policy) (claims []Claim, losses []Loss) {
	var all []Claim
	for i := range policies {
		policy := &policies[i]
		if !policy.Claims() || !policy.SelectsNode(node) {
			continue
		}
		for _, taint := range policy.Spec.Taints {
			all = append(all, Claim{Field: state.TaintField(taint.Key, taint.Effect), Want: taint.Value, Policy: policy})
		}
	}
	return resolvePrecedence("Node/"+node.Name, all)
}

// DeclaresTaint tells whether the policy declares the taint for the node, with any intent.
func (p *Policy) DeclaresTaint(node *corev1.Node, field string) bool {
	return p.SelectsNode(node) && slices.ContainsFunc(p.Spec.Taints, func(t v1alpha1.Taint) bool {
		return state.TaintField(t.Key, t.Effect) == field
	})
}
