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
func (r *run) judge() {
	for _, m := range r.members {
		if !m.in(v1alpha1.PhaseProgressing) {
			continue
		}
		if reason, message := r.failure(m); reason != "" {
			r.set(m, v1alpha1.PhaseReverted, reason, message)
		}
	}
}

// failure says why a node under way is to be taken back, empty if it is not.
func (r *run) failure(m *member) (reason, message string) {
	status := &m.e.Status
	if r.Cut != "" {
		return v1alpha1.ReasonRequiredFlowCut, "A flow that the control plane requires is cut: " + r.Cut
	}
	if r.Unjudged != "" {
		return v1alpha1.ReasonNotJudged, "It cannot be judged what the rules do: " + r.Unjudged
	}
	if down := r.down(status.StartTime); len(down) > 0 {
		return v1alpha1.ReasonNodeNotReady, "Not ready while this node was under way: " + wording.Names(down)
	}
	if !m.Programmed {
		// Of rules that were there, the time begins when that is noticed: after a
		// start, and when a set changes, they count as not written for a moment.
		if m.reason() == v1alpha1.ReasonWriting && r.passed(r.writingSince(m), r.timeout) {
			return v1alpha1.ReasonNotWritten, "The rules were not written within " + r.tell(r.timeout)
		}
	} else if m.reason() != v1alpha1.ReasonWriting { // else what was answered so far, was before the rules
		if reason, message = r.unproven(m); reason != "" {
			return reason, message
		}
	}
	if r.unconfirmed(m) && status.SoakTime != nil && r.passed(status.SoakTime, r.soak+r.timeout) {
		return v1alpha1.ReasonNotConfirmed, "Nobody confirmed within " + r.tell(r.timeout)
	}
	return "", ""
}

// unproven says why the probes of a node whose rules are written do not let it
// stay.
func (r *run) unproven(m *member) (reason, message string) {
	status := &m.e.Status
	if failed := m.regressions(m.inRound); len(failed) > 0 {
		return v1alpha1.ReasonProbeFailed, "Not as before the rules: " + wording.Names(failed)
	}
	if lost := m.unanswered(); len(lost) > 0 && r.passed(status.AskTime, r.timeout) {
		return v1alpha1.ReasonObserverLost, "No answer within " + r.tell(r.timeout) + " from " + wording.Names(lost)
	}
	return "", ""
}

// down returns the nodes that are not ready, and were there when a node was
// begun.
func (r *run) down(start *metav1.Time) []string {
	var down []string
	for _, node := range slices.Concat(r.Nodes, r.Others) {
		if !node.Ready && (start == nil || !node.Created.After(start.Time)) {
			down = append(down, node.Name)
		}
	}
	return down
}

// writingSince returns since when the rules are being written: since the start,
// since the failsafe ports are being narrowed, or since something took them away
// after that, when a round is asked.
func (r *run) writingSince(m *member) *metav1.Time {
	since := m.e.Status.StartTime
	for _, later := range []*metav1.Time{m.e.Status.NarrowTime, m.e.Status.AskTime} {
		if since != nil && later != nil && later.After(since.Time) {
			since = later
		}
	}
	return since
}

// tell tells a time that was declared.
func (r *run) tell(d time.Duration) string {
	return fmt.Sprintf("%d s", int64((d-granularity)/time.Second))
}

// proceed brings the nodes on their way further, or stops all of them if one
// failed.
func (r *run) proceed() {
	if failed := r.revertedNode(asDecided); failed != "" {
		for _, m := range r.members {
			if m.in(v1alpha1.PhasePending) || m.in(v1alpha1.PhaseProgressing) {
				r.set(m, v1alpha1.PhaseAborted, v1alpha1.ReasonOtherNodeReverted, "Stopped, because "+failed+" was reverted")
			}
		}
		return
	}
	for _, m := range r.members {
		if m.in(v1alpha1.PhaseProgressing) {
			r.advance(m)
		}
	}
	r.begin()
}

// progress says how far a node under way is.
func (r *run) progress(m *member, reason, message string) {
	r.set(m, v1alpha1.PhaseProgressing, reason, message)
}

// advance brings a node further on which nothing failed.
func (r *run) advance(m *member) {
	status := &m.e.Status
	watched := len(m.counted()) > 0
	switch {
	case !m.Programmed:
		if m.reason() != v1alpha1.ReasonWriting {
			r.ask(m)
		}
		if !m.hasTrial() { // it soaks, and is confirmed, with what it is tried with
			status.SoakTime = nil
			withdraw(m.e)
		}
		r.progress(m, v1alpha1.ReasonWriting, m.written("are being written", "are being narrowed"))
		r.wakeAt(r.writingSince(m), r.timeout)
		r.awaitConfirmation(m)
		return
	case watched && m.reason() == v1alpha1.ReasonWriting:
		r.ask(m)
		r.progress(m, v1alpha1.ReasonProbing, m.written("are written", "are narrow")+": the observers try again what they reached before")
	}
	if len(m.unanswered()) > 0 {
		r.awaitAnswers(m)
		return
	}
	if status.SoakTime == nil {
		status.SoakTime = r.now.DeepCopy()
	}
	if !r.passed(status.SoakTime, r.soak) {
		r.soaking(m)
		if !r.askAgain(m, watched) {
			r.wakeAt(status.SoakTime, r.soak)
		}
		return
	}
	r.finish(m, watched)
}

// hasTrial says whether a node has what it is tried with, of its own.
func (m *member) hasTrial() bool {
	wide := m.e.Status.NarrowTime != nil && m.Narrows && !m.Narrow && !m.Contested
	return m.Live == m.e.Status.Version && !wide
}

// written says what became of what is tried: of the rules, or of the failsafe ports.
func (m *member) written(rules, failsafes string) string {
	if m.e.Status.NarrowTime == nil {
		return "The rules " + rules
	}
	return "The failsafe ports " + failsafes
}

func (r *run) soaking(m *member) {
	who := "The observers reach what they reached before, and must for "
	if len(m.counted()) == 0 {
		who = "Nobody watches but the nodes themselves, which must be ready for "
	}
	r.progress(m, v1alpha1.ReasonSoaking, m.written("are written", "are narrow")+". "+who+r.tell(r.soak))
}

// unconfirmed says whether somebody still has to say that the node is to stay as
// it is: with its failsafe ports wide, and once more when they are narrow.
func (r *run) unconfirmed(m *member) bool { return r.manual && !r.confirmed(m) }

// askAgain keeps the pace of rounds where somebody answers them, and says
// whether there is an answer to wait for.
func (r *run) askAgain(m *member, watched bool) bool {
	switch {
	case !watched:
		return false
	case r.passed(m.e.Status.AskTime, probeInterval):
		r.ask(m)
		r.awaitAnswers(m)
		return true
	}
	r.wakeAt(m.e.Status.AskTime, probeInterval)
	return false
}

// awaitAnswers notes when it is too late for an answer, and for a confirmation.
func (r *run) awaitAnswers(m *member) {
	r.wakeAt(m.e.Status.AskTime, r.timeout)
	r.awaitConfirmation(m)
}

func (r *run) awaitConfirmation(m *member) {
	if r.unconfirmed(m) {
		r.wakeAt(m.e.Status.SoakTime, r.soak+r.timeout)
	}
}

// finish ends the soak of a node that passed the last round. Where nobody asked
// for long, because no operator was there, that is no news of the soak's end.
func (r *run) finish(m *member, watched bool) {
	status := &m.e.Status
	end := status.SoakTime.Add(r.soak)
	switch {
	case watched && r.soak > 0 && (status.AskTime == nil || status.AskTime.Time.Before(end.Add(-probeInterval))):
		r.soaking(m)
		r.ask(m)
		r.awaitAnswers(m)
	case r.unconfirmed(m):
		r.progress(m, v1alpha1.ReasonAwaitingConfirmation, fmt.Sprintf(
			"%s. Passed its probes, and is taken back at %s unless somebody confirms: kubectl annotate cpne %s %s=%d",
			m.written("are written", "are narrow"), end.Add(r.timeout).UTC().Format(time.RFC3339),
			m.e.Name, v1alpha1.AnnotationConfirm, r.Generation))
		r.awaitConfirmation(m)
		r.askAgain(m, watched)
	case !m.tried():
		r.narrow(m)
	case watched:
		r.enforce(m, v1alpha1.ReasonProven, m.proof())
	default:
		r.enforce(m, v1alpha1.ReasonUnproven, "No observer reached anything before that it must reach: what the rules do was not tried")
	}
}

// enforce ends the trial of a node.
func (r *run) enforce(m *member, reason, message string) {
	if m.Contested {
		m.e.Status.SoakTime = nil // it was not with narrow failsafe ports
	}
	r.set(m, v1alpha1.PhaseEnforced, reason, message)
}

// narrow has the failsafe ports of a node narrowed that passed its soak with them
// wide. What they let in is restricted only now: so all is tried once more, soaks
// once more, and is to be confirmed once more.
func (r *run) narrow(m *member) {
	withdraw(m.e)
	m.e.Status.NarrowTime, m.e.Status.SoakTime = r.now.DeepCopy(), nil
	r.progress(m, v1alpha1.ReasonWriting, m.written("are being written", "are being narrowed"))
	r.wakeAt(r.writingSince(m), r.timeout)
}
