// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"cmp"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// startAfterBaseline requests the baseline of a node, and starts the node once the
// observers have answered. A round from before the node's turn is too old for a
// baseline. placeFree tells whether the persisted enactments leave a place in flight
// for the node.
func (r *run) startAfterBaseline(n *nodeRun, placeFree bool) {
	status := &n.desired.Status
	requested := placeFree && n.persistedPhase == v1alpha1.PhasePending && reasonOf(n.Enactment) == v1alpha1.ReasonProbing &&
		slices.Equal(n.desired.Spec.Targets, n.probeTargets())
	if !requested {
		r.requestRound(n)
	}
	r.setPending(n, v1alpha1.ReasonProbing, "The observers record what they reach before the rules are written")
	silent := slices.ContainsFunc(status.Observers, func(o v1alpha1.Observation) bool { return !n.answersRound(&o) && n.answeredLately(&o) })
	switch {
	case !r.hasPassed(r.observersKnownSince(n), timing.ObserverAnnounce):
		r.wakeAfter(r.observersKnownSince(n), timing.ObserverAnnounce)
	case !r.hasPassed(status.ProbeRequestTime, timing.Granularity):
		// The round was requested just now. On record, the node before may be in
		// flight still.
		r.wakeAfter(status.ProbeRequestTime, timing.Granularity)
	case silent && !r.hasPassed(status.ProbeRequestTime, r.timeout):
		r.wakeAfter(status.ProbeRequestTime, r.timeout)
	default:
		r.startNode(n)
	}
}

// answeredLately tells whether an observer has answered one of the last rounds. The
// start of a node waits for no other observer, because the observer's pod may be gone
// for good.
func (n *nodeRun) answeredLately(o *v1alpha1.Observation) bool {
	const missed = 3
	return o.ProbeRound >= n.currentRound()-missed
}

// observersKnownSince returns the time from which observers can announce themselves.
func (r *run) observersKnownSince(n *nodeRun) *metav1.Time {
	if n.desired.CreationTimestamp.IsZero() {
		return n.desired.Status.ProbeRequestTime
	}
	return &n.desired.CreationTimestamp
}

// startNode starts a node with the answers to the last round as the baseline. Observers
// without an answer are left out.
func (r *run) startNode(n *nodeRun) {
	status := &n.desired.Status
	for _, o := range status.Observers {
		if n.answersRound(&o) && len(status.Baseline) < v1alpha1.MaxObservers {
			status.Baseline = append(status.Baseline, *o.DeepCopy())
		}
	}
	slices.SortFunc(status.Baseline, func(a, b v1alpha1.Observation) int { return cmp.Compare(a.Name, b.Name) })
	status.StartTime, status.PreviousFailsafesScopedTime, status.AdoptedTime = r.now.DeepCopy(), nil, nil
	r.setProgressing(n, v1alpha1.ReasonWriting, "The rules are being written")
	r.wakeAfter(status.StartTime, r.timeout)
	if n.Programmed { // The node has the rules already; only the failsafe ports are new.
		r.advanceNode(n)
	}
}
