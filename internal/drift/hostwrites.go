// SPDX-License-Identifier: Apache-2.0

package drift

import (
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"

	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/plan/calico"
)

// describeHostWrites sets the node, the write stage and RollsBack of every write.
func (d Diff) describeHostWrites(hosts plan.Hosts, endpoints []v3.HostEndpoint) {
	for _, writes := range [][]Write{d.Writes, d.Removals} {
		for i := range writes {
			w := &writes[i]
			object := w.Desired
			if object == nil {
				object = w.Live
			}
			w.Node, w.Stage = calico.NodeOf(object), calico.WriteStage(object)
			w.RollsBack = w.Node != "" && (w.Desired == nil || !w.Conflicted() && endsNewerRuleset(*w, hosts, endpoints))
		}
	}
}

// endsNewerRuleset tells whether a write gives a node the planned older ruleset in place of
// the ruleset that an endpoint of the node enforces now. A write to a node without such an
// endpoint restricts the node again.
func endsNewerRuleset(w Write, hosts plan.Hosts, endpoints []v3.HostEndpoint) bool {
	if live, is := w.Live.(*v3.HostEndpoint); is {
		endpoints = []v3.HostEndpoint{*live}
	}
	for i := range hosts.Calico.Nodes {
		node := &hosts.Calico.Nodes[i]
		if node.Name == w.Node && node.Older != "" && enforcesOtherRuleset(node.Older, w.Node, endpoints) {
			return true
		}
	}
	return false
}

// enforcesOtherRuleset tells whether a managed endpoint of the node enforces another
// ruleset than the version's.
func enforcesOtherRuleset(version, node string, endpoints []v3.HostEndpoint) bool {
	for i := range endpoints {
		e := &endpoints[i]
		if e.Spec.Node == node && calico.IsManagedEndpoint(e) && calico.IsEnforcing(e) && e.Labels[calico.LabelVersion] != version {
			return true
		}
	}
	return false
}

// SplitRollBacks separates the wanted writes that roll nodes back from the rest. The parts
// of the rollback are in order. Failsafe ports are opened first. Endpoints are deleted
// last, because the interface of a deleted endpoint falls under the endpoint for every
// interface, which must have been rolled back before.
func (d Diff) SplitRollBacks(wanted func(Write) bool) (rollBacks []Diff, rest Diff) {
	rest.Taken = d.Taken
	var failsafes, endpoints, writes Diff
	for _, w := range d.Removals {
		switch {
		case !w.RollsBack || !wanted(w):
			rest.Removals = append(rest.Removals, w)
		case w.Stage == calico.StageScopedFailsafes:
			failsafes.Removals = append(failsafes.Removals, w)
		default:
			endpoints.Removals = append(endpoints.Removals, w)
		}
	}
	for _, w := range d.Writes {
		if w.RollsBack && wanted(w) {
			writes.Writes = append(writes.Writes, w)
		} else {
			rest.Writes = append(rest.Writes, w)
		}
	}
	return []Diff{failsafes, writes, endpoints}, rest
}
