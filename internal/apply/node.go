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

// nodePatch is a merge patch. The list of taints is atomic, so that server-side apply
// would claim the taints of all owners. A merge patch with the resourceVersion writes
// the list as read, with changes only in managed taints, and is refused with a conflict
// after a write in between.
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

// NodeClients are the clients for writing a Node.
type NodeClients struct {
	// Live reads from the API server.
	Live client.Reader
	client.Writer
}

// WriteNode writes the outcome to a Node: the taints, and the record of the taints. The
// record is stored before a taint is set, and kept until a taint is gone. A taint is
// restored by the current record of the API server: an older record may contain a taint
// that another manager has set since. A repair is one write without a read.
//
// A claim is made or released only on a Node that is not stale. A stale Node may show a taint
// that was removed a moment ago, which would be recorded as the original and stay when the
// policy goes, or may lack a taint that was set a moment ago, which would stay too.
func WriteNode(ctx context.Context, c NodeClients, node *corev1.Node, record state.NodeRecord, outcome drift.Outcome) error {
	during := state.Record{}
	maps.Copy(during, record.Record)
	if len(outcome.Set) > 0 || hasOldRecord(node) {
		maps.Copy(during, outcome.Record)
	}
	if len(outcome.Set) > 0 && !hasOldRecord(node) && newOriginals(record.Record, outcome.Record) {
		if err := patchNode(ctx, c, node, nil, true); err != nil {
			return err
		}
	}
	stored, err := writeNodeRecord(ctx, c, node, record.Stored, during)
	if err != nil {
		return err
	}
	if len(during) > len(outcome.Record) && len(outcome.Set) > 0 {
		if err := confirmRecord(ctx, c.Live, stored); err != nil {
			return err
		}
	}
	if err := patchNode(ctx, c, node, outcome.Set, !drift.SameRecord(during, outcome.Record)); err != nil {
		return err
	}
	_, err = writeNodeRecord(ctx, c, node, stored, outcome.Record)
	return err
}

// newOriginals tells whether a new claim has an original: a value that the Node showed. The
// Node is confirmed before the original is recorded. To take the record back after a refused
// write would be too late: another operator may have set the taint by the same record.
func newOriginals(before, after state.Record) bool {
	for field, entry := range after {
		if _, known := before[field]; !known && entry.Original != nil {
			return true
		}
	}
	return false
}

// patchNode sets and removes taints, and removes the annotation in which earlier
// versions kept the record. If only claims change, the patch changes nothing: the API server
// refuses the resourceVersion of a stale Node.
func patchNode(ctx context.Context, c client.Writer, node *corev1.Node, set map[string]*string, claims bool) error {
	annotated := hasOldRecord(node)
	if len(set) == 0 && !annotated && !claims {
		return nil
	}
	var patch nodePatch
	patch.Metadata.UID, patch.Metadata.ResourceVersion = node.UID, node.ResourceVersion
	if annotated {
		patch.Metadata.Annotations = map[string]any{v1alpha1.AnnotationRecord: nil}
	}
	if len(set) > 0 {
		patch.Spec = &nodePatchSpec{Taints: MergeTaints(node.Spec.Taints, set)}
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
	return checkStoredFields(set, func(field string) *string { return plan.TaintValue(target, field) })
}

// hasOldRecord tells whether the Node has the annotation in which earlier versions kept the
// record.
func hasOldRecord(node *corev1.Node) bool {
	_, annotated := node.Annotations[v1alpha1.AnnotationRecord]
	return annotated
}

// MergeTaints returns the list with the given taints set, or removed where the value is
// nil. All other taints, and the order, stay.
func MergeTaints(live []corev1.Taint, set map[string]*string) []corev1.Taint {
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
