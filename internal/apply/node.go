// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// nodePatch is a merge patch. The list of taints is atomic, so that server-side
// apply would take every owner's taints for its own; a merge patch with the
// resourceVersion writes the list as it was seen, but for our taints, and is
// refused with a conflict if anybody wrote in between.
type nodePatch struct {
	Metadata struct {
		UID             types.UID      `json:"uid"`
		ResourceVersion string         `json:"resourceVersion"`
		Annotations     map[string]any `json:"annotations"`
	} `json:"metadata"`
	Spec *nodePatchSpec `json:"spec,omitempty"`
}

type nodePatchSpec struct {
	Taints []corev1.Taint `json:"taints"`
}

// Node writes the outcome to a Node: its taints and the record, in one request.
func Node(ctx context.Context, c client.Writer, node *corev1.Node, outcome drift.Outcome) error {
	var patch nodePatch
	patch.Metadata.UID, patch.Metadata.ResourceVersion = node.UID, node.ResourceVersion
	patch.Metadata.Annotations = map[string]any{v1alpha1.AnnotationRecord: recordValue(outcome.Record)}
	if len(outcome.Set) > 0 {
		patch.Spec = &nodePatchSpec{Taints: Taints(node.Spec.Taints, outcome.Set)}
	}
	body, err := json.Marshal(patch)
	if err != nil {
		return fmt.Errorf("writing the patch of node %s: %w", node.Name, err)
	}
	target := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node.Name}}
	patched := client.RawPatch(types.MergePatchType, body)
	if err := c.Patch(ctx, target, patched, client.FieldOwner(v1alpha1.FieldManagerTaints)); err != nil {
		return err
	}
	return fieldsLeft(target, outcome, func(field string) *string { return plan.TaintValue(target, field) })
}

// recordValue returns the annotation's value in a merge patch: null removes it.
func recordValue(record state.Record) any {
	if len(record) == 0 {
		return nil
	}
	return record.String()
}

// Taints returns the list with the given taints set, or removed where the value
// is nil. Every other taint, and the order, stays.
func Taints(live []corev1.Taint, set map[string]*string) []corev1.Taint {
	taints := []corev1.Taint{}
	done := map[string]bool{}
	for _, taint := range live {
		field := plan.TaintField(taint.Key, taint.Effect)
		value, ours := set[field]
		done[field] = true
		switch {
		case !ours:
			taints = append(taints, taint)
		case value != nil:
			taint.Value = *value
			taints = append(taints, taint)
		}
	}
	for _, field := range slices.Sorted(maps.Keys(set)) {
		if value := set[field]; value != nil && !done[field] {
			key, effect := plan.ParseTaintField(field)
			taints = append(taints, corev1.Taint{Key: key, Value: *value, Effect: effect})
		}
	}
	return taints
}
