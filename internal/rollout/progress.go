// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"fmt"
	"time"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// continueRollout advances the nodes in flight and starts others. If a node failed, all
// other nodes except Enforced nodes are stopped instead.
func (r *run) continueRollout() {
	if failed := r.firstFailedNode(asDecided); failed != "" {
		for _, n := range r.nodeRuns {
			if n.inPhase(v1alpha1.PhasePending) || n.inPhase(v1alpha1.PhaseProgressing) {
				r.setPhase(n, v1alpha1.PhaseAborted, v1alpha1.ReasonRolloutFailed, "Stopped, because node "+failed+" was reverted")
			}
		}
		return
	}
	for _, n := range r.nodeRuns {
		if n.inPhase(v1alpha1.PhaseProgressing) {
			r.advanceNode(n)
		}
	}
	r.startNodes()
}

// setProgressing reports how far a node in flight is.
func (r *run) setProgressing(n *nodeRun, reason, message string) {
	r.setPhase(n, v1alpha1.PhaseProgressing, reason, message)
}

// advanceNode takes a node in flight without a failure to the next step.
func (r *run) advanceNode(n *nodeRun) {
	status := &n.desired.Status
	watched := len(n.baselineObservers()) > 0
	switch {
	case !n.Programmed:
		if n.phaseReason() != v1alpha1.ReasonWriting {
			r.requestRound(n)
		}
		if !n.hasTrialRuleset() { // The soak and a confirmation hold for this ruleset only.
			status.SoakTime = nil
			removeConfirmation(n.desired)
		}
		r.setProgressing(n, v1alpha1.ReasonWriting, n.describeTrial("are being written", areBeingScoped))
		r.wakeAfter(r.writingSince(n), r.timeout)
		r.wakeForConfirmation(n)
		return
	case watched && n.phaseReason() == v1alpha1.ReasonWriting:
		r.requestRound(n)
		r.setProgressing(n, v1alpha1.ReasonProbing,
			n.describeTrial("are written", areScoped)+": the observers try again what they reached before")
	}
	if len(n.silentObservers()) > 0 {
		r.wakeForAnswers(n)
		return
	}
	if status.SoakTime == nil {
		status.SoakTime = r.now.DeepCopy()
	}
	if !r.hasPassed(status.SoakTime, r.soak) {
		r.setSoaking(n)
		if !r.requestNextRound(n, watched) {
			r.wakeAfter(status.SoakTime, r.soak)
		}
		return
	}
	r.finishSoak(n, watched)
}

// hasTrialRuleset tells whether the live endpoint of a node has the ruleset on trial.
func (n *nodeRun) hasTrialRuleset() bool {
	open := n.desired.Status.FailsafesScopedTime != nil && n.Declared.FailsafesScoped && !n.Live.FailsafesScoped && !n.FailsafesContested
	return n.Live.Version == n.desired.Status.Ruleset && !open
}

// Parts of messages about the failsafe ports.
const (
	areBeingScoped = "are being scoped to the declared peers"
	areScoped      = "are scoped to the declared peers"
)

// describeTrial describes the trial of the rules, or once the failsafe ports are scoped,
// the trial of the failsafe ports.
func (n *nodeRun) describeTrial(rules, failsafes string) string {
	if n.desired.Status.FailsafesScopedTime == nil {
		return "The rules " + rules
	}
	return "The failsafe ports " + failsafes
}

func (r *run) setSoaking(n *nodeRun) {
	condition := "The observers reach what they reached before, and must do so for "
	if len(n.baselineObservers()) == 0 {
		condition = "No observer watches; all nodes must stay ready for "
	}
	r.setProgressing(n, v1alpha1.ReasonSoaking, n.describeTrial("are written", areScoped)+". "+condition+r.formatDuration(r.soak))
}

// needsConfirmation tells whether a user still has to confirm the node: once with open
// failsafe ports, and once more with scoped failsafe ports.
func (r *run) needsConfirmation(n *nodeRun) bool { return r.manualConfirmation && !r.isConfirmed(n) }

// requestNextRound requests a probe round when timing.ProbeInterval has passed, if observers
// watch the node, and tells whether answers are awaited now.
func (r *run) requestNextRound(n *nodeRun, watched bool) bool {
	switch {
	case !watched:
		return false
	case r.hasPassed(n.desired.Status.ProbeRequestTime, timing.ProbeInterval):
		r.requestRound(n)
		r.wakeForAnswers(n)
		return true
	}
	r.wakeAfter(n.desired.Status.ProbeRequestTime, timing.ProbeInterval)
	return false
}

// wakeForAnswers makes the next decision happen when answers or a confirmation are
// overdue.
func (r *run) wakeForAnswers(n *nodeRun) {
	r.wakeAfter(n.desired.Status.ProbeRequestTime, r.timeout)
	r.wakeForConfirmation(n)
}

func (r *run) wakeForConfirmation(n *nodeRun) {
	if r.needsConfirmation(n) {
		r.wakeAfter(n.desired.Status.SoakTime, r.soak+r.timeout)
	}
}

// finishSoak ends the soak of a node after the last round has passed. A round from long
// before the end of the soak, because no operator ran, does not tell how the soak ended:
// another round is requested.
func (r *run) finishSoak(n *nodeRun, watched bool) {
	status := &n.desired.Status
	end := status.SoakTime.Add(r.soak)
	switch {
	case watched && r.soak > 0 && (status.ProbeRequestTime == nil || status.ProbeRequestTime.Time.Before(end.Add(-timing.ProbeInterval))):
		r.setSoaking(n)
		r.requestRound(n)
		r.wakeForAnswers(n)
	case r.needsConfirmation(n):
		r.setProgressing(n, v1alpha1.ReasonAwaitingConfirmation, fmt.Sprintf(
			"%s. The node passed its probes, and is rolled back at %s unless somebody confirms it: kubectl annotate cpne %s %s=%d",
			n.describeTrial("are written", areScoped), end.Add(r.timeout).UTC().Format(time.RFC3339),
			n.desired.Name, v1alpha1.AnnotationConfirm, r.Generation))
		r.wakeForConfirmation(n)
		r.requestNextRound(n, watched)
	case !n.triedAsDeclared():
		r.scopeFailsafes(n)
	case watched:
		r.setEnforced(n, v1alpha1.ReasonProven, n.describeProof())
	default:
		r.setEnforced(n, v1alpha1.ReasonUnproven,
			"Before the rules, no observer reached a target that must be reachable: what the rules do was not tried")
	}
}

// setEnforced ends the trial of a node.
func (r *run) setEnforced(n *nodeRun, reason, message string) {
	if n.FailsafesContested {
		n.desired.Status.SoakTime = nil // The node did not soak with scoped failsafe ports.
	}
	r.setPhase(n, v1alpha1.PhaseEnforced, reason, message)
}

// scopeFailsafes scopes the failsafe ports of a node after a soak with open failsafe
// ports. Traffic to failsafe ports is restricted only from now on, so the node is probed,
// soaks and is confirmed once more.
func (r *run) scopeFailsafes(n *nodeRun) {
	removeConfirmation(n.desired)
	n.desired.Status.FailsafesScopedTime, n.desired.Status.SoakTime = r.now.DeepCopy(), nil
	r.setProgressing(n, v1alpha1.ReasonWriting, n.describeTrial("are being written", areBeingScoped))
	r.wakeAfter(r.writingSince(n), r.timeout)
}
