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
		Annotations     map[string]any `json:"annotations,omitempty"`
	} `json:"metadata"`
	Spec *nodePatchSpec `json:"spec,omitempty"`
}

type nodePatchSpec struct {
	Taints []corev1.Taint `json:"taints"`
}

// NodeClients are what a Node is written with.
type NodeClients struct {
	// Live asks the API server.
	Live client.Reader
	client.Writer
}

// Node writes the outcome to a Node: its taints, and what was done to them. That is
// on record before a taint is set and until one is gone. A taint is restored by
// the record that the API server has now: an older one may tell of a taint that
// somebody else has set since. A repair is one write, and nothing is read.
func Node(ctx context.Context, c NodeClients, node *corev1.Node, record state.NodeRecord, outcome drift.Outcome) error {
	during := state.Record{}
	maps.Copy(during, record.Record)
	maps.Copy(during, outcome.Record)
	stored, err := nodeRecord(ctx, c, node, record.Stored, during)
	if err != nil {
		return err
	}
	if len(during) > len(outcome.Record) && len(outcome.Set) > 0 {
		if err := confirm(ctx, c.Live, stored); err != nil {
			return err
		}
	}
	if err := patchNode(ctx, c, node, outcome.Set); err != nil {
		return err
	}
	_, err = nodeRecord(ctx, c, node, stored, outcome.Record)
	return err
}

// patchNode sets and removes taints. The record that earlier versions kept in an
// annotation goes on the way.
func patchNode(ctx context.Context, c client.Writer, node *corev1.Node, set map[string]*string) error {
	_, annotated := node.Annotations[v1alpha1.AnnotationRecord]
	if len(set) == 0 && !annotated {
		return nil
	}
	var patch nodePatch
	patch.Metadata.UID, patch.Metadata.ResourceVersion = node.UID, node.ResourceVersion
	if annotated {
		patch.Metadata.Annotations = map[string]any{v1alpha1.AnnotationRecord: nil}
	}
	if len(set) > 0 {
		patch.Spec = &nodePatchSpec{Taints: Taints(node.Spec.Taints, set)}
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
	return fieldsLeft(set, func(field string) *string { return plan.TaintValue(target, field) })
}

// Taints returns the list with the given taints set, or removed where the value
// is nil. Every other taint, and the order, stays.
func Taints(live []corev1.Taint, set map[string]*string) []corev1.Taint {
	taints := []corev1.Taint{}
	done := map[string]bool{}
	for _, taint := range live {
		field := state.TaintField(taint.Key, taint.Effect)
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
			key, effect := state.ParseTaintField(field)
			taints = append(taints, corev1.Taint{Key: key, Value: *value, Effect: effect})
		}
	}
	return taints
}
