// SPDX-License-Identifier: Apache-2.0

package compare

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/pipeline"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/repair"
	"github.com/cpnp-dev/cpnp-operator/internal/report"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// nodes are the nodes with what each adds to the report of one policy: the comparison of its
// taints.
type nodes struct {
	sum     sum[string]
	seen    seen[string, *corev1.Node]
	records seen[string, *v1alpha1.ControlPlaneNodeRecord]
}

// addTo compares the nodes that have changed, and adds all nodes to a report.
func (n *nodes) addTo(ctx context.Context, in *report.Input, a pipeline.Assessment, from Sources) error {
	records, err := from.Observe.CachedNodeRecords(ctx)
	if err != nil {
		return err
	}
	n.seen.look(a.Snapshot.Nodes, (*corev1.Node).GetName, n.sum.mark)
	n.records.look(records, (*v1alpha1.ControlPlaneNodeRecord).GetName, n.sum.mark)
	if err := n.compareMarked(ctx, in, a, from); err != nil {
		return err
	}
	in.MatchedNodes += len(n.sum.counts)
	n.sum.addTo(&in.Taints, in, cmp.Compare[string])
	return nil
}

// compareMarked compares the marked nodes, and counts the pods that missing taints evict.
func (n *nodes) compareMarked(ctx context.Context, in *report.Input, a pipeline.Assessment, from Sources) error {
	records := state.NodeRecords(n.records.byKey)
	stuck := repair.StuckTaints(from.History, records, a.Policies, from.Now)
	shelter := plan.NewShelter(a.Snapshot.Operator, a.Snapshot.Nodes, a.Policies, stuck)
	marked := n.sum.takeMarked()
	for _, name := range slices.Sorted(maps.Keys(marked)) {
		node := n.seen.byKey[name]
		if node == nil || !a.Policy.SelectsNode(node) {
			n.sum.drop(name)
			continue
		}
		claims, losses := plan.TaintClaims(node, a.Policies)
		shelter.HoldEvictions(node, claims)
		record := records.OfNode(node).Record
		moved := drift.MoveRecord(node, record, a.Policies)
		outcome := drift.CompareFields(repair.WithMemory(from.History, drift.SharedNode(node, moved), node.UID), claims, a.Policies)
		is := partOf(a.Policy.Name, countClaims(a.Policy.Name, claims), outcome.Findings, losses)
		is.oldRecord = !drift.SameRecord(record, moved)
		n.sum.put(name, is)
		if mayEvict(claims) {
			n.sum.mark(name)
		}
		taints := plan.MissingNoExecute(node, claims, a.Policy.Name)
		if len(taints) == 0 {
			continue
		}
		pods, err := from.Observe.PodsOn(ctx, node.Name)
		if err != nil {
			n.sum.marked = marked
			return err
		}
		in.PodsToEvict += plan.CountEvicted(pods, taints)
	}
	return nil
}

// mayEvict tells whether a claim is of a NoExecute taint. What such a taint evicts depends
// on other nodes and on the time, so the node is compared for every report.
func mayEvict(claims []plan.Claim) bool {
	return slices.ContainsFunc(claims, func(c plan.Claim) bool {
		return strings.HasSuffix(c.Field, ":"+string(corev1.TaintEffectNoExecute))
	})
}
