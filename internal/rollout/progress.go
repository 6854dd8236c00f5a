// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// judge takes back the nodes under way on which something failed.
func (r *run) revertFailedNodes() {
	for _, n := range r.nodeRuns {
		if !n.inPhase(v1alpha1.PhaseProgressing) {
			continue
		}
		if reason, message := r.failureOf(n); reason != "" {
			r.setPhase(n, v1alpha1.PhaseReverted, reason, message)
		}
	}
}

// failure says why a node under way is to be taken back, empty if it is not.
func (r *run) failureOf(n *nodeRun) (reason, message string) {
	status := &n.desired.Status
	if r.CutFlow != "" {
		return v1alpha1.ReasonRequiredFlowCut, "A flow that the control plane requires is cut: " + r.CutFlow
	}
	if r.NotJudged != "" {
		return v1alpha1.ReasonNotJudged, "It cannot be judged what the rules do: " + r.NotJudged
	}
	if down := r.notReadyNodes(status.StartTime); len(down) > 0 {
		return v1alpha1.ReasonNodeNotReady, "Not ready while this node was under way: " + wording.Names(down)
	}
	if !n.Programmed {
		// Of rules that were there, the time begins when that is noticed: after a
		// start, and when a set changes, they count as not written for a moment.
		if n.phaseReason() == v1alpha1.ReasonWriting && r.hasPassed(r.writingSince(n), r.timeout) {
			return v1alpha1.ReasonNotWritten, "The rules were not written within " + r.formatDuration(r.timeout)
		}
	} else if n.phaseReason() != v1alpha1.ReasonWriting { // else what was answered so far, was before the rules
		if reason, message = r.probeFailure(n); reason != "" {
			return reason, message
		}
	}
	if r.needsConfirmation(n) && status.SoakTime != nil && r.hasPassed(status.SoakTime, r.soak+r.timeout) {
		return v1alpha1.ReasonNotConfirmed, "Nobody confirmed within " + r.formatDuration(r.timeout)
	}
	return "", ""
}

// unproven says why the probes of a node whose rules are written do not let it
// stay.
func (r *run) probeFailure(n *nodeRun) (reason, message string) {
	status := &n.desired.Status
	if failed := n.findRegressions(n.answersRound); len(failed) > 0 {
		return v1alpha1.ReasonProbeFailed, "Not as before the rules: " + wording.Names(failed)
	}
	if lost := n.silentObservers(); len(lost) > 0 && r.hasPassed(status.AskTime, r.timeout) {
		return v1alpha1.ReasonObserverLost, "No answer within " + r.formatDuration(r.timeout) + " from " + wording.Names(lost)
	}
	return "", ""
}

// down returns the nodes that are not ready, and were there when a node was
// begun.
func (r *run) notReadyNodes(start *metav1.Time) []string {
	var down []string
	for _, node := range slices.Concat(r.Nodes, r.OtherNodes) {
		if !node.Ready && (start == nil || !node.Created.After(start.Time)) {
			down = append(down, node.Name)
		}
	}
	return down
}

// writingSince returns since when the rules are being written: since the start,
// since the failsafe ports are being narrowed, or since something took them away
// after that, when a round is asked.
func (r *run) writingSince(n *nodeRun) *metav1.Time {
	since := n.desired.Status.StartTime
	for _, later := range []*metav1.Time{n.desired.Status.NarrowTime, n.desired.Status.AskTime} {
		if since != nil && later != nil && later.After(since.Time) {
			since = later
		}
	}
	return since
}

// tell tells a time that was declared.
func (r *run) formatDuration(d time.Duration) string {
	return fmt.Sprintf("%d s", int64((d-granularity)/time.Second))
}

// proceed brings the nodes on their way further, or stops all of them if one
// failed.
func (r *run) continueRollout() {
	if failed := r.firstFailedNode(asDecided); failed != "" {
		for _, n := range r.nodeRuns {
			if n.inPhase(v1alpha1.PhasePending) || n.inPhase(v1alpha1.PhaseProgressing) {
				r.setPhase(n, v1alpha1.PhaseAborted, v1alpha1.ReasonOtherNodeReverted, "Stopped, because "+failed+" was reverted")
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

// progress says how far a node under way is.
func (r *run) setProgressing(n *nodeRun, reason, message string) {
	r.setPhase(n, v1alpha1.PhaseProgressing, reason, message)
}

// advance brings a node further on which nothing failed.
func (r *run) advanceNode(n *nodeRun) {
	status := &n.desired.Status
	watched := len(n.baselineObservers()) > 0
	switch {
	case !n.Programmed:
		if n.phaseReason() != v1alpha1.ReasonWriting {
			r.requestRound(n)
		}
		if !n.hasTrialRuleset() { // it soaks, and is confirmed, with what it is tried with
			status.SoakTime = nil
			removeConfirmation(n.desired)
		}
		r.setProgressing(n, v1alpha1.ReasonWriting, n.describeTrial("are being written", "are being narrowed"))
		r.wakeAfter(r.writingSince(n), r.timeout)
		r.wakeForConfirmation(n)
		return
	case watched && n.phaseReason() == v1alpha1.ReasonWriting:
		r.requestRound(n)
		r.setProgressing(n, v1alpha1.ReasonProbing, n.describeTrial("are written", "are narrow")+": the observers try again what they reached before")
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

// hasTrial says whether a node has what it is tried with, of its own.
func (n *nodeRun) hasTrialRuleset() bool {
	wide := n.desired.Status.NarrowTime != nil && n.WantsScopedFailsafes && !n.FailsafesScoped && !n.FailsafesContested
	return n.LiveVersion == n.desired.Status.Version && !wide
}

// written says what became of what is tried: of the rules, or of the failsafe ports.
func (n *nodeRun) describeTrial(rules, failsafes string) string {
	if n.desired.Status.NarrowTime == nil {
		return "The rules " + rules
	}
	return "The failsafe ports " + failsafes
}

func (r *run) setSoaking(n *nodeRun) {
	who := "The observers reach what they reached before, and must for "
	if len(n.baselineObservers()) == 0 {
		who = "Nobody watches but the nodes themselves, which must be ready for "
	}
	r.setProgressing(n, v1alpha1.ReasonSoaking, n.describeTrial("are written", "are narrow")+". "+who+r.formatDuration(r.soak))
}

// unconfirmed says whether somebody still has to say that the node is to stay as
// it is: with its failsafe ports wide, and once more when they are narrow.
func (r *run) needsConfirmation(n *nodeRun) bool { return r.manualConfirmation && !r.isConfirmed(n) }

// askAgain keeps the pace of rounds where somebody answers them, and says
// whether there is an answer to wait for.
func (r *run) requestNextRound(n *nodeRun, watched bool) bool {
	switch {
	case !watched:
		return false
	case r.hasPassed(n.desired.Status.AskTime, probeInterval):
		r.requestRound(n)
		r.wakeForAnswers(n)
		return true
	}
	r.wakeAfter(n.desired.Status.AskTime, probeInterval)
	return false
}

// awaitAnswers notes when it is too late for an answer, and for a confirmation.
func (r *run) wakeForAnswers(n *nodeRun) {
	r.wakeAfter(n.desired.Status.AskTime, r.timeout)
	r.wakeForConfirmation(n)
}

func (r *run) wakeForConfirmation(n *nodeRun) {
	if r.needsConfirmation(n) {
		r.wakeAfter(n.desired.Status.SoakTime, r.soak+r.timeout)
	}
}

// finish ends the soak of a node that passed the last round. Where nobody asked
// for long, because no operator was there, that is no news of the soak's end.
func (r *run) finishSoak(n *nodeRun, watched bool) {
	status := &n.desired.Status
	end := status.SoakTime.Add(r.soak)
	switch {
	case watched && r.soak > 0 && (status.AskTime == nil || status.AskTime.Time.Before(end.Add(-probeInterval))):
		r.setSoaking(n)
		r.requestRound(n)
		r.wakeForAnswers(n)
	case r.needsConfirmation(n):
		r.setProgressing(n, v1alpha1.ReasonAwaitingConfirmation, fmt.Sprintf(
			"%s. Passed its probes, and is taken back at %s unless somebody confirms: kubectl annotate cpne %s %s=%d",
			n.describeTrial("are written", "are narrow"), end.Add(r.timeout).UTC().Format(time.RFC3339),
			n.desired.Name, v1alpha1.AnnotationConfirm, r.Generation))
		r.wakeForConfirmation(n)
		r.requestNextRound(n, watched)
	case !n.triedAsDeclared():
		r.scopeFailsafes(n)
	case watched:
		r.setEnforced(n, v1alpha1.ReasonProven, n.describeProof())
	default:
		r.setEnforced(n, v1alpha1.ReasonUnproven, "No observer reached anything before that it must reach: what the rules do was not tried")
	}
}

// enforce ends the trial of a node.
func (r *run) setEnforced(n *nodeRun, reason, message string) {
	if n.FailsafesContested {
		n.desired.Status.SoakTime = nil // it was not with narrow failsafe ports
	}
	r.setPhase(n, v1alpha1.PhaseEnforced, reason, message)
}

// narrow has the failsafe ports of a node narrowed that passed its soak with them
// wide. What they let in is restricted only now: so all is tried once more, soaks
// once more, and is to be confirmed once more.
func (r *run) scopeFailsafes(n *nodeRun) {
	removeConfirmation(n.desired)
	n.desired.Status.NarrowTime, n.desired.Status.SoakTime = r.now.DeepCopy(), nil
	r.setProgressing(n, v1alpha1.ReasonWriting, n.describeTrial("are being written", "are being narrowed"))
	r.wakeAfter(r.writingSince(n), r.timeout)
}
