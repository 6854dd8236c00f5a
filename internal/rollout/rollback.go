// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// holdNodes lets all pending nodes wait while the declared rules are unknown. A node in
// flight is rolled back to its previous ruleset and waits, because the operator can tell
// neither whether the new rules cut a required flow nor which targets must be reachable.
func (r *run) holdNodes() {
	for _, n := range r.nodeRuns {
		if n.inPhase(v1alpha1.PhaseProgressing) || n.inPhase(v1alpha1.PhasePending) {
			n.resetProgress()
			r.setPending(n, v1alpha1.ReasonNotVerified, r.Reason)
		}
	}
}

// rollBackAll rolls every node back to no restriction at all. A node with a failure in
// the same generation keeps its phase and reason, and is not tried again when the reason
// to roll back is gone.
func (r *run) rollBackAll() {
	for _, n := range r.nodeRuns {
		status := &n.desired.Status
		n.setPreviousRuleset("", nil)
		status.AdoptedTime = nil
		if r.hasFailed(n) {
			continue
		}
		status.PolicyGeneration, status.Ruleset = r.Generation, cmp.Or(status.Ruleset, n.Declared.Version)
		r.setPhase(n, v1alpha1.PhaseReverted, v1alpha1.ReasonRolledBack,
			fmt.Sprintf("The policy is annotated with %s: %s", v1alpha1.AnnotationRevert, wording.QuoteText(r.Reason, maxReason)))
	}
}

// revertFailedNodes rolls back the nodes in flight with a failure.
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

// failureOf returns why a node in flight is to be rolled back, empty without a failure.
func (r *run) failureOf(n *nodeRun) (reason, message string) {
	status := &n.desired.Status
	if r.CutFlow != "" {
		return v1alpha1.ReasonRequiredFlowCut, "A flow that the control plane requires is cut: " + r.CutFlow
	}
	if r.NotJudged != "" {
		return v1alpha1.ReasonNotJudged, "The operator cannot judge what the rules do: " + r.NotJudged
	}
	if notReady := r.notReadyNodes(status.StartTime); len(notReady) > 0 {
		return v1alpha1.ReasonNodeNotReady, "Not ready while this node was in flight: " + wording.ListNames(notReady)
	}
	if !n.Programmed {
		// After a start of the operator, and when a set changes, present rules count as
		// not written for a moment. The timeout begins when the operator notices.
		if n.phaseReason() == v1alpha1.ReasonWriting && r.hasPassed(r.writingSince(n), r.timeout) {
			return v1alpha1.ReasonApplyFailed, "The rules were not written within " + r.formatDuration(r.timeout)
		}
	} else if n.phaseReason() != v1alpha1.ReasonWriting { // While Writing, the answers are from before the rules.
		if reason, message = r.probeFailure(n); reason != "" {
			return reason, message
		}
	}
	if r.needsConfirmation(n) && status.SoakTime != nil && r.hasPassed(status.SoakTime, r.soak+r.timeout) {
		return v1alpha1.ReasonNotConfirmed, "Nobody confirmed this node within " + r.formatDuration(r.timeout)
	}
	return "", ""
}

// probeFailure returns why the probes call for rolling back a node with written rules,
// empty if the probes passed.
func (r *run) probeFailure(n *nodeRun) (reason, message string) {
	status := &n.desired.Status
	if failed := n.findRegressions(n.answersRound); len(failed) > 0 {
		return v1alpha1.ReasonProbeFailed, "Worse than before the rules: " + wording.ListNames(failed)
	}
	if lost := n.silentObservers(); len(lost) > 0 && r.hasPassed(status.ProbeRequestTime, r.timeout) {
		return v1alpha1.ReasonProbeFailed, "No answer within " + r.formatDuration(r.timeout) + " from " + wording.ListNames(lost)
	}
	return "", ""
}

// notReadyNodes returns the unready nodes that were created before the start of a node.
// Nil stands for any time.
func (r *run) notReadyNodes(start *metav1.Time) []string {
	var notReady []string
	for _, node := range slices.Concat(r.Nodes, r.OtherNodes) {
		if !node.Ready && (start == nil || !node.Created.After(start.Time)) {
			notReady = append(notReady, node.Name)
		}
	}
	return notReady
}

// writingSince returns the time since when a ruleset is being written: since the
// start, since the scoping of the failsafe ports, or since a later loss of the rules.
// At such a loss a probe round is requested.
func (r *run) writingSince(n *nodeRun) *metav1.Time {
	since := n.desired.Status.StartTime
	for _, later := range []*metav1.Time{n.desired.Status.FailsafesScopedTime, n.desired.Status.ProbeRequestTime} {
		if since != nil && later != nil && later.After(since.Time) {
			since = later
		}
	}
	return since
}

// formatDuration formats a declared duration, such as "120 s".
func (r *run) formatDuration(d time.Duration) string {
	return fmt.Sprintf("%d s", int64((d-timing.Granularity)/time.Second))
}

// hasFailed tells whether a node was reverted for the present generation because of a
// failure.
func (r *run) hasFailed(n *nodeRun) bool { return r.failedInGeneration(n.desired) }

func (r *run) failedInGeneration(e *v1alpha1.ControlPlaneNodeEnactment) bool {
	return FailedInGeneration(e, r.Generation)
}

// asPersisted and asDecided select an enactment of a node for firstFailedNode.
func asPersisted(n *nodeRun) *v1alpha1.ControlPlaneNodeEnactment { return n.Enactment }
func asDecided(n *nodeRun) *v1alpha1.ControlPlaneNodeEnactment   { return n.desired }

// firstFailedNode returns the first node with a failure in the present generation, empty
// if there is none.
func (r *run) firstFailedNode(which func(*nodeRun) *v1alpha1.ControlPlaneNodeEnactment) string {
	if r.FailedNode != "" {
		return r.FailedNode
	}
	for _, n := range r.nodeRuns {
		if e := which(n); e != nil && r.failedInGeneration(e) {
			return n.Name
		}
	}
	return ""
}
