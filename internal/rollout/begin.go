// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"cmp"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// maxObservers is how many observers an enactment remembers.
const maxObservers = 16

// baring is what a node waits for that has still to be taken back.
const waitsForRollBack = "Waits until the node itself is as it was before"

// begin begins the nodes whose turn it is, and says of the others what they wait
// for.
func (r *run) startNodes() {
	reason, message := r.startObstacle()
	under, held, turns := r.nodesInFlight(), r.countPersistedInFlight(), 0
	for _, n := range r.startOrder() {
		switch {
		case !n.inPhase(v1alpha1.PhasePending):
		case n.ForeignEndpoint != "":
			r.setPending(n, v1alpha1.ReasonForeignHostEndpoint,
				"HostEndpoint "+n.ForeignEndpoint+" of somebody else is in the place of the operator's: delete it, or take the node out of spec.nodeSelector")
		case reason != "":
			r.setPending(n, reason, message)
		case n.isBeingRolledBack():
			r.setPending(n, v1alpha1.ReasonQueued, waitsForRollBack)
		case len(under)+r.OthersInFlight >= r.maxInFlight:
			r.setPending(n, v1alpha1.ReasonQueued, "Waits for "+r.describeInFlight(under))
		case n.desired.Status.FoundTime != nil && !n.adoptedRulesRemoved():
			n.setPreviousRuleset("", nil)
			r.setPending(n, v1alpha1.ReasonQueued, waitsForRollBack)
			under = append(under, n.Name)
		default:
			r.startAfterBaseline(n, held+turns < r.maxInFlight)
			turns++
			under = append(under, n.Name)
		}
	}
}

// queue returns the nodes in the order in which they are begun: those first that go
// without what they were found with, then those that were found with the rules that
// are called for. Nobody knows whether these were tried: others are not begun with
// them before.
func (r *run) startOrder() []*nodeRun {
	rank := func(n *nodeRun) int {
		switch {
		case n.adoptedRulesRemoved():
			return 0
		case n.inPhase(v1alpha1.PhasePending) && n.desired.Status.FoundTime != nil && n.LiveVersion == r.Version:
			return 1
		}
		return 2
	}
	return slices.SortedStableFunc(slices.Values(r.nodeRuns), func(a, b *nodeRun) int { return cmp.Compare(rank(a), rank(b)) })
}

// bare says whether a node that was found with rules has gone without them.
func (n *nodeRun) adoptedRulesRemoved() bool {
	return n.inPhase(v1alpha1.PhasePending) && n.desired.Status.FoundTime != nil && n.desired.Status.PreviousVersion == ""
}

// gate says why no node may be begun, empty if one may.
func (r *run) startObstacle() (reason, message string) {
	switch down := r.notReadyNodes(nil); {
	case r.NotVerified != "":
		return v1alpha1.ReasonNotVerified, r.NotVerified
	case r.CutFlow != "":
		return v1alpha1.ReasonRequiredFlowCut, "A flow that the control plane requires is cut already: " + r.CutFlow
	case r.maxInFlight == 0:
		return v1alpha1.ReasonNoQuorumToSpare, fmt.Sprintf(
			"With %d control-plane nodes etcd can not lose any: set spec.rollout.confirm to Manual, and confirm each node",
			cmp.Or(r.ControlPlaneSize, len(r.nodeRuns)))
	case len(down) > 0:
		return v1alpha1.ReasonNodeNotReady, "Waits until these nodes are ready: " + wording.Names(down)
	}
	return "", ""
}

// unsettled says whether a node that waits still has to be taken back to what it
// had before.
func (n *nodeRun) isBeingRolledBack() bool { return n.inPhase(v1alpha1.PhasePending) && !n.Programmed }

// underWay returns the nodes that have the new rules and are not done, or may
// still have them.
func (r *run) nodesInFlight() []string {
	var names []string
	for _, n := range r.nodeRuns {
		if n.inPhase(v1alpha1.PhaseProgressing) || n.isBeingRolledBack() {
			names = append(names, n.Name)
		}
	}
	return names
}

// heldBefore counts what was under way before this decision. It is persisted
// node by node: should a node that is done now stay under way because that
// fails, no other may have been begun in its place.
func (r *run) countPersistedInFlight() int {
	held := r.OthersInFlight
	for _, n := range r.nodeRuns {
		if n.persistedPhase == v1alpha1.PhaseProgressing || n.isBeingRolledBack() {
			held++
		}
	}
	return held
}

// others names what a node waits for.
func (r *run) describeInFlight(names []string) string {
	names = slices.Sorted(slices.Values(names))
	switch {
	case r.OthersInFlight == 0:
		return wording.Names(names)
	case len(names) == 0:
		return wording.Count(r.OthersInFlight, "node") + " of other policies"
	}
	return wording.Names(names) + ", and " + wording.Count(r.OthersInFlight, "node") + " of other policies"
}

func (r *run) setPending(n *nodeRun, reason, message string) {
	r.setPhase(n, v1alpha1.PhasePending, reason, message)
}

// turn asks the observers what they reach before a node is begun, and begins it
// once they have answered. A round from before its turn is old news.
func (r *run) startAfterBaseline(n *nodeRun, had bool) {
	status := &n.desired.Status
	going := had && n.persistedPhase == v1alpha1.PhasePending && reasonOf(n.Enactment) == v1alpha1.ReasonProbing &&
		slices.Equal(n.desired.Spec.Targets, n.probeTargets())
	if !going {
		r.requestRound(n)
	}
	r.setPending(n, v1alpha1.ReasonProbing, "The observers try what they reach before the rules")
	silent := slices.ContainsFunc(status.Observers, func(o v1alpha1.Observation) bool { return !n.answersRound(&o) && n.isResponsive(&o) })
	switch {
	case !r.hasPassed(r.observersKnownSince(n), announceTime):
		r.wakeAfter(r.observersKnownSince(n), announceTime)
	case !r.hasPassed(status.AskTime, granularity): // asked just now, so that its place may not be free on record yet
		r.wakeAfter(status.AskTime, granularity)
	case silent && !r.hasPassed(status.AskTime, r.timeout):
		r.wakeAfter(status.AskTime, r.timeout)
	default:
		r.startNode(n)
	}
}

// alive says whether an observer has answered one of the last rounds. One that
// has not is not waited for: nobody may be left to run it.
func (n *nodeRun) isResponsive(o *v1alpha1.Observation) bool {
	const missed = 3
	return o.Round >= n.currentRound()-missed
}

// known returns since when observers have been able to announce themselves.
func (r *run) observersKnownSince(n *nodeRun) *metav1.Time {
	if n.desired.CreationTimestamp.IsZero() {
		return n.desired.Status.AskTime
	}
	return &n.desired.CreationTimestamp
}

// start begins a node. Observers that did not answer are left out.
func (r *run) startNode(n *nodeRun) {
	status := &n.desired.Status
	for _, o := range status.Observers {
		if n.answersRound(&o) && len(status.Before) < maxObservers {
			status.Before = append(status.Before, *o.DeepCopy())
		}
	}
	slices.SortFunc(status.Before, func(a, b v1alpha1.Observation) int { return cmp.Compare(a.Name, b.Name) })
	status.StartTime, status.PreviousNarrowTime, status.FoundTime = r.now.DeepCopy(), nil, nil
	r.setProgressing(n, v1alpha1.ReasonWriting, "The rules are being written")
	r.wakeAfter(status.StartTime, r.timeout)
	if n.Programmed { // it has them: it is tried because of its failsafe ports
		r.advanceNode(n)
	}
}
