// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"cmp"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// carry brings what is called for into the enactments: a new one, one of other
// rules, or of another generation. Where a node was reverted for this
// generation, nothing that is Enforced changes.
func (r *run) updateEnactments() {
	blocked := r.firstFailedNode(asPersisted) != ""
	for _, n := range r.nodeRuns {
		r.updateEnactment(n, blocked)
	}
}

func (r *run) updateEnactment(n *nodeRun, blocked bool) {
	status := &n.desired.Status
	// Of what was found, nobody knows whether it was tried.
	bare := n.hasLostRules() && (status.FoundTime != nil || r.restoreNodeByNode((*nodeRun).hasLostRules))
	if bare {
		n.setPreviousRuleset("", nil)
	}
	switch {
	case n.persistedPhase == "":
		r.createEnactment(n)
	case n.persistedPhase == v1alpha1.PhasePending, n.persistedPhase == v1alpha1.PhaseEnforced && bare:
		r.queueNode(n)
	case n.persistedPhase == v1alpha1.PhaseProgressing:
		// An endpoint of others in the place of ours: it has no rules to be tried.
		if status.Version != r.Version || n.ForeignEndpoint != "" {
			r.queueNode(n)
		}
		status.PolicyGeneration = r.Generation
	case n.persistedPhase == v1alpha1.PhaseEnforced:
		r.updateEnforced(n, blocked)
	case r.isTriedAgain(n, blocked):
		r.queueNode(n)
	}
}

// carryDone does so for a node that is done.
func (r *run) updateEnforced(n *nodeRun, blocked bool) {
	status := &n.desired.Status
	switch {
	case n.hasReopenedFailsafes() && (status.SoakTime == nil || r.restoreNodeByNode((*nodeRun).hasReopenedFailsafes)):
		n.setPreviousRuleset(status.Version, nil)
		r.queueNode(n)
	case status.Version == r.Version && n.triedAsDeclared():
		status.PolicyGeneration = r.Generation
		if !n.WantsScopedFailsafes {
			status.NarrowTime = nil // should they be narrowed again, that is tried again
		}
	case !blocked:
		n.setPreviousRuleset(status.Version, status.NarrowTime)
		r.queueNode(n)
	}
}

// again says whether a node that was taken back, or stopped, is to be begun once
// more: for another generation, when the reason to take everything back is gone,
// and when somebody deleted the enactment of the node that failed, to try again.
func (r *run) isTriedAgain(n *nodeRun, blocked bool) bool {
	lifted := n.phaseReason() == v1alpha1.ReasonTakenBack && r.RollBackReason == ""
	resumed := n.persistedPhase == v1alpha1.PhaseAborted && !blocked
	return lifted || resumed || n.desired.Status.PolicyGeneration != r.Generation
}

// create begins the enactment of a node. The observers are asked at once, so
// that they announce themselves. A node that has rules already, as after
// deletionPolicy Orphan, or because somebody deleted its enactment, keeps them
// until its turn comes, since nobody knows how far it was; but not narrow failsafe
// ports. One that is not ready may be so because of the rules.
func (r *run) createEnactment(n *nodeRun) {
	if n.LiveVersion != "" && n.Ready {
		n.desired.Status.FoundTime = r.now.DeepCopy()
		n.setPreviousRuleset(n.LiveVersion, nil)
	}
	r.queueNode(n)
	r.requestRound(n)
}

// goesBackTo says what a node has while it waits, and is taken back to.
func (n *nodeRun) setPreviousRuleset(version string, narrow *metav1.Time) {
	n.desired.Status.PreviousVersion, n.desired.Status.PreviousNarrowTime = version, narrow.DeepCopy()
}

// tried says whether a node was tried with its failsafe ports narrow, if they are
// to be.
func (n *nodeRun) triedAsDeclared() bool {
	return n.desired.Status.NarrowTime != nil || !n.WantsScopedFailsafes
}

// undone says whether a node that is not under way has no rules any more, though
// it is to have some.
func (n *nodeRun) hasLostRules() bool {
	version, _ := RulesetFor(n.Enactment)
	return version != "" && n.persistedPhase != "" && n.persistedPhase != v1alpha1.PhaseProgressing && n.LiveVersion == "" && n.ForeignEndpoint == ""
}

// widened says whether the failsafe ports of a node that is done are not narrow
// any more; or never were, where it did not soak with them, because somebody else
// had decided about them, and has not any more.
func (n *nodeRun) hasReopenedFailsafes() bool {
	return n.persistedPhase == v1alpha1.PhaseEnforced && n.WantsScopedFailsafes && !n.FailsafesScoped && !n.FailsafesContested &&
		n.Enactment.Status.Version == n.LiveVersion && n.Enactment.Status.NarrowTime != nil
}

// many says whether what is gone of nodes is not to be put back at once, but node
// by node: somebody took it from several, by hand or with all of Calico, or the
// control plane is not well. On a single node that is drift.
func (r *run) restoreNodeByNode(gone func(*nodeRun) bool) bool {
	count := 0
	for _, n := range r.nodeRuns {
		if gone(n) {
			count++
		}
	}
	return count > 1 || len(r.notReadyNodes(nil)) > 0
}

// pend makes a node wait for its turn; why it waits is said later on. One that
// waited with rules that are called for again is done: somebody went back to what
// was declared before.
func (r *run) queueNode(n *nodeRun) {
	status := &n.desired.Status
	back := status.Version != r.Version && n.stillHasRuleset(r.Version)
	status.PolicyGeneration, status.Version = r.Generation, r.Version
	n.resetProgress()
	if !n.FailsafesScoped {
		status.PreviousNarrowTime = nil // whoever widened them: they are narrowed again when that is tried
	}
	switch {
	case back:
		status.NarrowTime = status.PreviousNarrowTime
		n.setPreviousRuleset("", nil)
		r.setPhase(n, v1alpha1.PhaseEnforced, v1alpha1.ReasonUnproven, "Has the rules that are called for: nothing was tried before and after")
	case !n.inPhase(v1alpha1.PhasePending):
		r.setPhase(n, v1alpha1.PhasePending, v1alpha1.ReasonQueued, "")
	}
}

// hasStill says whether a node that is not under way has a version of the rules,
// with its failsafe ports as they are to be, and as they were when it was done with
// them.
func (n *nodeRun) stillHasRuleset(version string) bool {
	status := &n.desired.Status
	return n.persistedPhase != v1alpha1.PhaseProgressing && n.ForeignEndpoint == "" && status.FoundTime == nil &&
		status.PreviousVersion == version && n.LiveVersion == version &&
		n.FailsafesScoped == n.WantsScopedFailsafes && n.FailsafesScoped == (status.PreviousNarrowTime != nil)
}

// restart forgets how far a node was.
func (n *nodeRun) resetProgress() {
	n.desired.Status.StartTime, n.desired.Status.SoakTime, n.desired.Status.NarrowTime, n.desired.Status.Before = nil, nil, nil, nil
	removeConfirmation(n.desired)
}

// hold has the nodes wait, while it can not be told what is called for. One that
// is under way waits with the rules that it had before: nobody can say whether
// the new ones cut anything, or what must be reached with them.
func (r *run) holdNodes() {
	for _, n := range r.nodeRuns {
		if n.inPhase(v1alpha1.PhaseProgressing) || n.inPhase(v1alpha1.PhasePending) {
			n.resetProgress()
			r.setPending(n, v1alpha1.ReasonNotVerified, r.NotVerified)
		}
	}
}

// takeBack takes every node back to where nothing is restricted. A node that
// failed in this generation stays told so, and is not tried again when the
// reason is gone.
func (r *run) rollBackAll() {
	for _, n := range r.nodeRuns {
		status := &n.desired.Status
		n.setPreviousRuleset("", nil)
		status.FoundTime = nil
		if r.hasFailed(n) {
			continue
		}
		status.PolicyGeneration, status.Version = r.Generation, cmp.Or(status.Version, r.Version)
		r.setPhase(n, v1alpha1.PhaseReverted, v1alpha1.ReasonTakenBack,
			fmt.Sprintf("The policy is annotated with %s: %s", v1alpha1.AnnotationRevert, wording.Quoted(r.RollBackReason, maxReason)))
	}
}

// failed says whether a node was reverted for this generation, because something
// failed.
func (r *run) hasFailed(n *nodeRun) bool { return r.failedInGeneration(n.desired) }

func (r *run) failedInGeneration(e *v1alpha1.ControlPlaneNodeEnactment) bool {
	return FailedInGeneration(e, r.Generation)
}

// FailedFor says whether a node was reverted for a generation of its policy,
// because something failed.
func FailedInGeneration(e *v1alpha1.ControlPlaneNodeEnactment, generation int64) bool {
	return PhaseOf(e) == v1alpha1.PhaseReverted && reasonOf(e) != v1alpha1.ReasonTakenBack &&
		e.Status.PolicyGeneration == generation
}

// asPersisted and asDecided say which enactment of a node is meant.
func asPersisted(n *nodeRun) *v1alpha1.ControlPlaneNodeEnactment { return n.Enactment }
func asDecided(n *nodeRun) *v1alpha1.ControlPlaneNodeEnactment   { return n.desired }

// revertedNode returns the first node that was reverted for this generation,
// empty if none was.
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
