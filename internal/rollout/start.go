// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"cmp"
	"slices"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// waitsForRollBack is the message of a pending node before its roll back is complete.
const waitsForRollBack = "Waits until the node itself is rolled back"

// startNodes starts the nodes whose turn it is, and reports for every other pending
// node the reason for waiting.
func (r *run) startNodes() {
	reason, message := r.startObstacle()
	inFlight, persisted, turns := r.nodesInFlight(), r.countPersistedInFlight(), 0
	for _, n := range r.startOrder() {
		switch {
		case !n.inPhase(v1alpha1.PhasePending):
		case n.ForeignEndpoint != "":
			r.setPending(n, v1alpha1.ReasonForeignHostEndpoint, "The foreign HostEndpoint "+n.ForeignEndpoint+
				" takes the place of the operator's HostEndpoint: delete the foreign one, or take the node out of spec.nodeSelector")
		case reason != "":
			r.setPending(n, reason, message)
		case n.isBeingRolledBack():
			r.setPending(n, v1alpha1.ReasonQueued, waitsForRollBack)
		case len(inFlight)+r.OthersInFlight >= r.maxInFlight:
			r.setPending(n, v1alpha1.ReasonQueued, "Waits for "+r.describeInFlight(inFlight))
		case n.desired.Status.AdoptedTime != nil && !n.adoptedRulesRemoved():
			n.setPreviousRuleset("", nil)
			r.setPending(n, v1alpha1.ReasonQueued, waitsForRollBack)
			inFlight = append(inFlight, n.Name)
		default:
			r.startAfterBaseline(n, persisted+turns < r.maxInFlight)
			turns++
			inFlight = append(inFlight, n.Name)
		}
	}
}

// startOrder returns the nodes in the order of their start. First come nodes whose
// adopted rules are already removed, then nodes adopted with the declared rules. Whether
// adopted rules were ever tried is unknown, so no other node is started with the same
// rules earlier.
func (r *run) startOrder() []*nodeRun {
	rank := func(n *nodeRun) int {
		switch {
		case n.adoptedRulesRemoved():
			return 0
		case n.inPhase(v1alpha1.PhasePending) && n.desired.Status.AdoptedTime != nil && n.Live.Version == n.Declared.Version:
			return 1
		}
		return 2
	}
	return slices.SortedStableFunc(slices.Values(r.nodeRuns), func(a, b *nodeRun) int { return cmp.Compare(rank(a), rank(b)) })
}

// adoptedRulesRemoved tells whether the node was adopted with rules and waits
// without rules now.
func (n *nodeRun) adoptedRulesRemoved() bool {
	return n.inPhase(v1alpha1.PhasePending) && n.desired.Status.AdoptedTime != nil && n.desired.Status.PreviousRuleset == ""
}

// startObstacle returns why no node may be started, empty if a node may be started.
func (r *run) startObstacle() (reason, message string) {
	switch notReady := r.notReadyNodes(nil); {
	case r.Reason != "":
		return v1alpha1.ReasonNotVerified, r.Reason
	case r.CutFlow != "":
		return v1alpha1.ReasonRequiredFlowCut, "A flow that the control plane requires is cut already: " + r.CutFlow
	case r.maxInFlight == 0:
		return v1alpha1.ReasonNoQuorumToSpare, "With " + wording.CountOf(cmp.Or(r.EtcdSize, len(r.nodeRuns)), "node") +
			" for etcd, etcd cannot lose a member: set spec.rollout.confirm to Manual, and confirm each node"
	case len(notReady) > 0:
		return v1alpha1.ReasonNodeNotReady, "Waits until these nodes are ready: " + wording.ListNames(notReady)
	}
	return "", ""
}

// isBeingRolledBack tells whether a pending node still has to get the previous ruleset.
func (n *nodeRun) isBeingRolledBack() bool { return n.inPhase(v1alpha1.PhasePending) && !n.Programmed }

// nodesInFlight returns the nodes in flight, and nodes that may still have the rules on
// trial.
func (r *run) nodesInFlight() []string {
	var names []string
	for _, n := range r.nodeRuns {
		if n.inPhase(v1alpha1.PhaseProgressing) || n.isBeingRolledBack() {
			names = append(names, n.Name)
		}
	}
	return names
}

// countPersistedInFlight counts the nodes in flight before the decision is persisted.
// Enactments are persisted node by node. If the write for a newly Enforced node fails,
// the node stays in flight on record, and no other node may have taken its place.
func (r *run) countPersistedInFlight() int {
	count := r.OthersInFlight
	for _, n := range r.nodeRuns {
		if n.persistedPhase == v1alpha1.PhaseProgressing || n.isBeingRolledBack() {
			count++
		}
	}
	return count
}

// describeInFlight names the nodes in flight, and counts the nodes of other policies.
func (r *run) describeInFlight(names []string) string {
	names = slices.Sorted(slices.Values(names))
	switch {
	case r.OthersInFlight == 0:
		return wording.ListNames(names)
	case len(names) == 0:
		return wording.CountOf(r.OthersInFlight, "node") + " of other policies"
	}
	return wording.ListNames(names) + ", and " + wording.CountOf(r.OthersInFlight, "node") + " of other policies"
}

// setPending makes a node wait. Nothing can be confirmed before the node is started.
func (r *run) setPending(n *nodeRun, reason, message string) {
	removeConfirmation(n.desired)
	r.setPhase(n, v1alpha1.PhasePending, reason, message)
}
