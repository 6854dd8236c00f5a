// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// TaintField returns the name of a taint in a state.Record: "key:effect", which
// is what identifies a taint on its node.
func TaintField(key string, effect corev1.TaintEffect) string {
	return key + ":" + string(effect)
}

// ParseTaintField is the inverse of TaintField.
func ParseTaintField(field string) (key string, effect corev1.TaintEffect) {
	key, e, _ := strings.Cut(field, ":")
	return key, corev1.TaintEffect(e)
}

// Taints returns which taints the node should have. Policies come oldest first.
func Taints(node *corev1.Node, policies []Policy) (claims []Claim, losses []Loss) {
	var all []Claim
	for i := range policies {
		policy := &policies[i]
		if !policy.Active() || !policy.Selects(node) {
			continue
		}
		for _, taint := range policy.Spec.Taints {
			all = append(all, Claim{Field: TaintField(taint.Key, taint.Effect), Want: taint.Value, Policy: policy})
		}
	}
	return settle("Node/"+node.Name, all)
}
