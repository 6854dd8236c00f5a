// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// NodeRecord is the record of the operator's changes to the taints of a node.
type NodeRecord struct {
	Record
	// Stored is the object with the name of the node, even if the object is about
	// another Node that had the name before; nil if there is no object.
	Stored *v1alpha1.ControlPlaneNodeRecord
}

// NodeRecords are the stored records of all nodes, by the name of the node.
type NodeRecords map[string]*v1alpha1.ControlPlaneNodeRecord

// OfNode returns the record of a node, empty if there was no change.
func (r NodeRecords) OfNode(node *corev1.Node) NodeRecord {
	stored := r[node.Name]
	record := Record{}
	if stored != nil && types.UID(stored.Spec.NodeUID) == node.UID {
		for _, t := range stored.Spec.Taints {
			record[TaintField(t.Key, t.Effect)] = RecordEntry{Policy: t.Policy, Applied: t.Applied, Original: t.Original}
		}
	}
	return NodeRecord{Record: record, Stored: stored}
}

// RecordedTaints returns a record in the form of the API, sorted: the inverse of
// NodeRecords.OfNode.
func (r Record) RecordedTaints() []v1alpha1.RecordedTaint {
	taints := make([]v1alpha1.RecordedTaint, 0, len(r))
	for _, field := range slices.Sorted(maps.Keys(r)) {
		key, effect := ParseTaintField(field)
		entry := r[field]
		taints = append(taints, v1alpha1.RecordedTaint{
			Key: key, Effect: effect, Policy: entry.Policy, Applied: entry.Applied, Original: entry.Original,
		})
	}
	return taints
}

// ListNodeRecords returns the records of all nodes.
func (o Observer) ListNodeRecords(ctx context.Context) (NodeRecords, error) {
	objects, err := o.CachedNodeRecords(ctx)
	records := make(NodeRecords, len(objects))
	for _, record := range objects {
		records[record.Name] = record
	}
	return records, err
}

// CachedNodeRecords returns the records of nodes in the cache, in no particular order.
func (o Observer) CachedNodeRecords(ctx context.Context) ([]*v1alpha1.ControlPlaneNodeRecord, error) {
	objects, err := o.listCached(ctx, &v1alpha1.ControlPlaneNodeRecord{}, &v1alpha1.ControlPlaneNodeRecordList{}, "", nil)
	if err != nil {
		return nil, fmt.Errorf("listing the records of nodes: %w", err)
	}
	return objectsOf[*v1alpha1.ControlPlaneNodeRecord](objects), nil
}

// GetNodeRecord returns the record of one node.
func (o Observer) GetNodeRecord(ctx context.Context, node *corev1.Node) (NodeRecord, error) {
	stored := &v1alpha1.ControlPlaneNodeRecord{}
	switch err := o.Cache.Get(ctx, types.NamespacedName{Name: node.Name}, stored); {
	case apierrors.IsNotFound(err):
		return NodeRecords{}.OfNode(node), nil
	case err != nil:
		return NodeRecord{}, fmt.Errorf("reading the record of node %s: %w", node.Name, err)
	}
	return NodeRecords{node.Name: stored}.OfNode(node), nil
}

// TaintField returns the name of a taint in a Record: "key:effect", which identifies a
// taint on a node.
func TaintField(key string, effect corev1.TaintEffect) string {
	return key + ":" + string(effect)
}

// ParseTaintField is the inverse of TaintField.
func ParseTaintField(field string) (key string, effect corev1.TaintEffect) {
	key, e, _ := strings.Cut(field, ":")
	return key, corev1.TaintEffect(e)
}
