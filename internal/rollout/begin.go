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
const baring = "Waits until the node itself is as it was before"

// begin begins the nodes whose turn it is, and says of the others what they wait
// for.
func (r *run) begin() {
	reason, message := r.gate()
	under, held, turns := r.underWay(), r.heldBefore(), 0
	for _, m := range r.queue() {
		switch {
		case !m.in(v1alpha1.PhasePending):
		case m.Foreign != "":
			r.wait(m, v1alpha1.ReasonForeignHostEndpoint,
				"HostEndpoint "+m.Foreign+" of somebody else is in the place of the operator's: delete it, or take the node out of spec.nodeSelector")
		case reason != "":
			r.wait(m, reason, message)
		case m.unsettled():
			r.wait(m, v1alpha1.ReasonQueued, baring)
		case len(under)+r.InFlight >= r.limit:
			r.wait(m, v1alpha1.ReasonQueued, "Waits for "+r.others(under))
		case m.e.Status.FoundTime != nil && !m.bare():
			m.goesBackTo("", nil)
			r.wait(m, v1alpha1.ReasonQueued, baring)
			under = append(under, m.Name)
		default:
			r.turn(m, held+turns < r.limit)
			turns++
			under = append(under, m.Name)
		}
	}
}

// queue returns the nodes in the order in which they are begun: those first that go
// without what they were found with, then those that were found with the rules that
// are called for. Nobody knows whether these were tried: others are not begun with
// them before.
func (r *run) queue() []*member {
	rank := func(m *member) int {
		switch {
		case m.bare():
			return 0
		case m.in(v1alpha1.PhasePending) && m.e.Status.FoundTime != nil && m.Live == r.Version:
			return 1
		}
		return 2
	}
	return slices.SortedStableFunc(slices.Values(r.members), func(a, b *member) int { return cmp.Compare(rank(a), rank(b)) })
}

// bare says whether a node that was found with rules has gone without them.
func (m *member) bare() bool {
	return m.in(v1alpha1.PhasePending) && m.e.Status.FoundTime != nil && m.e.Status.PreviousVersion == ""
}

// gate says why no node may be begun, empty if one may.
func (r *run) gate() (reason, message string) {
	switch down := r.down(nil); {
	case r.Unverified != "":
		return v1alpha1.ReasonNotVerified, r.Unverified
	case r.Cut != "":
		return v1alpha1.ReasonRequiredFlowCut, "A flow that the control plane requires is cut already: " + r.Cut
	case r.limit == 0:
		return v1alpha1.ReasonNoQuorumToSpare, fmt.Sprintf(
			"With %d control-plane nodes etcd can not lose any: set spec.rollout.confirm to Manual, and confirm each node",
			cmp.Or(r.Members, len(r.members)))
	case len(down) > 0:
		return v1alpha1.ReasonNodeNotReady, "Waits until these nodes are ready: " + wording.Names(down)
	}
	return "", ""
}

// unsettled says whether a node that waits still has to be taken back to what it
// had before.
func (m *member) unsettled() bool { return m.in(v1alpha1.PhasePending) && !m.Programmed }

// underWay returns the nodes that have the new rules and are not done, or may
// still have them.
func (r *run) underWay() []string {
	var names []string
	for _, m := range r.members {
		if m.in(v1alpha1.PhaseProgressing) || m.unsettled() {
			names = append(names, m.Name)
		}
	}
	return names
}

// heldBefore counts what was under way before this decision. It is persisted
// node by node: should a node that is done now stay under way because that
// fails, no other may have been begun in its place.
func (r *run) heldBefore() int {
	held := r.InFlight
	for _, m := range r.members {
		if m.was == v1alpha1.PhaseProgressing || m.unsettled() {
			held++
		}
	}
	return held
}

// others names what a node waits for.
func (r *run) others(names []string) string {
	names = slices.Sorted(slices.Values(names))
	switch {
	case r.InFlight == 0:
		return wording.Names(names)
	case len(names) == 0:
		return wording.Count(r.InFlight, "node") + " of other policies"
	}
	return wording.Names(names) + ", and " + wording.Count(r.InFlight, "node") + " of other policies"
}

func (r *run) wait(m *member, reason, message string) {
	r.set(m, v1alpha1.PhasePending, reason, message)
}

// turn asks the observers what they reach before a node is begun, and begins it
// once they have answered. A round from before its turn is old news.
func (r *run) turn(m *member, had bool) {
	status := &m.e.Status
	going := had && m.was == v1alpha1.PhasePending && reasonOf(m.Enactment) == v1alpha1.ReasonProbing &&
		slices.Equal(m.e.Spec.Targets, m.targets())
	if !going {
		r.ask(m)
	}
	r.wait(m, v1alpha1.ReasonProbing, "The observers try what they reach before the rules")
	silent := slices.ContainsFunc(status.Observers, func(o v1alpha1.Observation) bool { return !m.inRound(&o) && m.alive(&o) })
	switch {
	case !r.passed(r.known(m), announceTime):
		r.wakeAt(r.known(m), announceTime)
	case !r.passed(status.AskTime, granularity): // asked just now, so that its place may not be free on record yet
		r.wakeAt(status.AskTime, granularity)
	case silent && !r.passed(status.AskTime, r.timeout):
		r.wakeAt(status.AskTime, r.timeout)
	default:
		r.start(m)
	}
}

// alive says whether an observer has answered one of the last rounds. One that
// has not is not waited for: nobody may be left to run it.
func (m *member) alive(o *v1alpha1.Observation) bool {
	const missed = 3
	return o.Round >= m.round()-missed
}

// known returns since when observers have been able to announce themselves.
func (r *run) known(m *member) *metav1.Time {
	if m.e.CreationTimestamp.IsZero() {
		return m.e.Status.AskTime
	}
	return &m.e.CreationTimestamp
}

// start begins a node. Observers that did not answer are left out.
func (r *run) start(m *member) {
	status := &m.e.Status
	for _, o := range status.Observers {
		if m.inRound(&o) && len(status.Before) < maxObservers {
			status.Before = append(status.Before, *o.DeepCopy())
		}
	}
	slices.SortFunc(status.Before, func(a, b v1alpha1.Observation) int { return cmp.Compare(a.Name, b.Name) })
	status.StartTime, status.PreviousNarrowTime, status.FoundTime = r.now.DeepCopy(), nil, nil
	r.progress(m, v1alpha1.ReasonWriting, "The rules are being written")
	r.wakeAt(status.StartTime, r.timeout)
	if m.Programmed { // it has them: it is tried because of its failsafe ports
		r.advance(m)
	}
}
