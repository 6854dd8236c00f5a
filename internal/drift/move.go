// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// RecordFormat is the format of records with an object for each Node's record.
const RecordFormat = 2

// MoveRecord returns a node's record, completed from the Node's annotation of an earlier operator
// version, for policies whose records were not moved yet.
//
// A kubelet can write the annotation, so the operator trusts only entries about taints
// declared by the policy for the node, however long the annotation is. A taint no longer
// declared by the policy stays on the node.
func MoveRecord(node *corev1.Node, record state.Record, policies []plan.Policy) state.Record {
	earlier := func(p plan.Policy) bool { return ofEarlierVersion(&p) }
	if !slices.ContainsFunc(policies, earlier) {
		return record
	}
	var moved state.Record
	for field, entry := range state.NodeAnnotationRecord(node.Annotations) {
		policy := plan.FindPolicy(policies, entry.Policy)
		_, known := record[field]
		if known || policy == nil || !ofEarlierVersion(policy) || !policy.DeclaresTaint(node, field) || !isTaintOf(entry) {
			continue
		}
		if moved == nil {
			moved = state.Record{}
			maps.Copy(moved, record)
		}
		moved[field] = entry
	}
	if moved == nil {
		return record
	}
	return moved
}

// ofEarlierVersion tells whether only an operator version with records on Nodes has served
// the policy.
func ofEarlierVersion(policy *plan.Policy) bool {
	return policy.Status.ObservedGeneration > 0 && policy.Status.RecordFormat == 0
}

func isTaintOf(entry state.RecordEntry) bool {
	valid := func(value string) bool { return len(validation.IsValidLabelValue(value)) == 0 }
	return valid(entry.Applied) && (entry.Original == nil || valid(*entry.Original))
}
