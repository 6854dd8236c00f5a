// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// regressionPrefix separates the proof of a node from regressions found by patrols.
const regressionPrefix = ". But now: "

// patrolEnforced requests probe rounds of enforced nodes, reports regressions in their
// enactments, and returns connections although the flow is declared closed.
func (r *run) patrolEnforced() []string {
	var connected []string
	for _, n := range r.nodeRuns {
		if !n.inPhase(v1alpha1.PhaseEnforced) || !n.Programmed {
			continue
		}
		since := &meta.FindStatusCondition(n.desired.Status.Conditions, v1alpha1.PhaseEnforced).LastTransitionTime
		r.requestPatrol(n, since)
		if !n.patrolRequested(since) {
			continue
		}
		connected = append(connected, n.forbiddenConnections()...)
		message, _, _ := strings.Cut(n.phaseMessage(), regressionPrefix)
		if failed := n.findRegressions(n.answersPatrol); len(failed) > 0 {
			message += regressionPrefix + wording.ListNames(failed)
		}
		r.setPhase(n, v1alpha1.PhaseEnforced, n.phaseReason(), message)
	}
	return connected
}

// patrolRequested tells whether the last round was requested after the node became
// Enforced: in a later second, because the API keeps whole seconds.
func (n *nodeRun) patrolRequested(since *metav1.Time) bool {
	return n.desired.Status.ProbeRequestTime != nil && n.desired.Status.ProbeRequestTime.After(since.Time)
}

// requestPatrol requests the probe rounds of an enforced node. The first patrol leaves
// out a number, so the answer to the last round but one is always a patrol too:
// the findings of an observer stay until the observer answers again.
func (r *run) requestPatrol(n *nodeRun, since *metav1.Time) {
	if len(n.desired.Status.Observers) == 0 || len(n.Targets) == 0 {
		return
	}
	pace, last := timing.PatrolInterval, n.desired.Status.ProbeRequestTime
	if !n.patrolRequested(since) {
		pace, last = timing.Granularity, since
	}
	if r.hasPassed(last, pace) {
		if last == since {
			n.desired.Spec.ProbeRound = ptr.To(n.currentRound() + 1)
		}
		r.requestRound(n)
		last, pace = n.desired.Status.ProbeRequestTime, timing.PatrolInterval
	}
	r.wakeAfter(last, pace)
}

// answersPatrol tells whether an observation answers one of the last two patrols.
func (n *nodeRun) answersPatrol(o *v1alpha1.Observation) bool {
	return o != nil && (o.ProbeRound == n.currentRound() || o.ProbeRound == n.currentRound()-1)
}

// forbiddenConnections returns the connections to a node although the flow is declared
// closed.
func (n *nodeRun) forbiddenConnections() []string {
	var found []string
	for _, o := range n.desired.Status.Observers {
		if !n.answersPatrol(&o) {
			continue
		}
		for _, result := range o.Results {
			if result.Outcome.IsConnected() && n.expectationOf(o, result) == MustNotConnect {
				found = append(found, fmt.Sprintf("%s from %s: %s", formatTarget(result), o.Name, result.Outcome))
			}
		}
	}
	return found
}
