// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"slices"

	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
)

// describeHostWrites sets the node, the write stage and RollsBack of every write.
func (d Diff) describeHostWrites(hosts plan.Hosts, endpoints []backend.Endpoint) {
	for _, writes := range [][]Write{d.Writes, d.Removals} {
		for i := range writes {
			w := &writes[i]
			object := w.Desired
			if object == nil {
				object = w.Live
			}
			traits := backend.TraitsOf(object)
			w.Node, w.Stage = traits.Node, traits.Stage
			w.RollsBack = w.Node != "" && (w.Desired == nil || !w.IsConflicted() && endsNewerRuleset(*w, hosts, endpoints))
		}
	}
}

// endsNewerRuleset tells whether a write gives a node the planned older ruleset in place of
// the ruleset that an endpoint of the node enforces now. A write to a node without such an
// endpoint restricts the node again.
func endsNewerRuleset(w Write, hosts plan.Hosts, endpoints []backend.Endpoint) bool {
	if w.Live != nil && w.Stage == backend.StageEndpoints {
		i := slices.IndexFunc(endpoints, func(e backend.Endpoint) bool { return e.Name == w.Live.GetName() })
		endpoints = endpoints[max(i, 0) : i+1]
	}
	for i := range hosts.Now.Nodes {
		node := &hosts.Now.Nodes[i]
		if node.Name == w.Node && hosts.Now.HasOlderRules(*node) && enforcesOtherRuleset(node.Ruleset.Version, w.Node, endpoints) {
			return true
		}
	}
	return false
}

// enforcesOtherRuleset tells whether a managed endpoint of the node enforces another
// ruleset than the version's.
func enforcesOtherRuleset(version, node string, endpoints []backend.Endpoint) bool {
	for i := range endpoints {
		e := &endpoints[i]
		if e.Node == node && e.Managed && e.Enforcing && e.Version != version {
			return true
		}
	}
	return false
}

// SplitRollBacks separates the wanted writes into rollbacks of nodes and all other writes.
// The parts of the rollback are in order. Failsafe ports are opened first. Endpoints are
// deleted last, because the interface of a deleted endpoint falls under the endpoint for
// every interface, which must have been rolled back before.
func (d Diff) SplitRollBacks(wanted func(Write) bool) (rollBacks []Diff, rest Diff) {
	rest.Taken = d.Taken
	var failsafes, endpoints, writes Diff
	for _, w := range d.Removals {
		switch {
		case !w.RollsBack || !wanted(w):
			rest.Removals = append(rest.Removals, w)
		case w.Stage == backend.StageScopedFailsafes:
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
