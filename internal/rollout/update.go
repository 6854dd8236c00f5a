// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// updateEnactments brings the declared state into the enactments: for a new node, for
// other rules, and for another generation. While a node is reverted for the present
// generation, the rollout is blocked: no Enforced node changes.
func (r *run) updateEnactments() {
	blocked := r.firstFailedNode(asPersisted) != ""
	for _, n := range r.nodeRuns {
		r.updateEnactment(n, blocked)
	}
}

func (r *run) updateEnactment(n *nodeRun, blocked bool) {
	status := &n.desired.Status
	// Whether the rules of an adopted node were ever tried is unknown.
	withoutRules := n.hasLostRules() && (status.AdoptedTime != nil || r.restoreNodeByNode((*nodeRun).hasLostRules))
	if withoutRules {
		n.setPreviousRuleset("", nil)
	}
	switch {
	case n.persistedPhase == "":
		r.createEnactment(n)
	case n.persistedPhase == v1alpha1.PhasePending, n.persistedPhase == v1alpha1.PhaseEnforced && withoutRules:
		r.queueNode(n)
	case n.persistedPhase == v1alpha1.PhaseProgressing:
		// With a foreign endpoint in the place of the managed endpoint, there are no
		// rules to try.
		if status.Ruleset != n.Declared.Version || n.ForeignEndpoint != "" {
			r.queueNode(n)
		}
		status.PolicyGeneration = r.Generation
	case n.persistedPhase == v1alpha1.PhaseEnforced:
		r.updateEnforced(n, blocked)
	case r.isTriedAgain(n, blocked):
		r.queueNode(n)
	}
}

// updateEnforced brings the declared state into the enactment of an Enforced node.
func (r *run) updateEnforced(n *nodeRun, blocked bool) {
	status := &n.desired.Status
	switch {
	case n.hasReopenedFailsafes() && (status.SoakTime == nil || r.restoreNodeByNode((*nodeRun).hasReopenedFailsafes)):
		n.setPreviousRuleset(status.Ruleset, nil)
		r.queueNode(n)
	case status.Ruleset == n.Declared.Version && n.triedAsDeclared():
		status.PolicyGeneration = r.Generation
		if !n.Declared.FailsafesScoped {
			status.FailsafesScopedTime = nil // To scope the failsafe ports later is tried anew.
		}
	case !blocked:
		n.setPreviousRuleset(status.Ruleset, status.FailsafesScopedTime)
		r.queueNode(n)
	}
}

// isTriedAgain tells whether a reverted or aborted node is to be started once more: for
// another generation, when the reason to roll back all nodes is gone, and when a user
// deleted the enactment of the failed node to try again.
func (r *run) isTriedAgain(n *nodeRun, blocked bool) bool {
	lifted := n.phaseReason() == v1alpha1.ReasonRolledBack
	resumed := n.persistedPhase == v1alpha1.PhaseAborted && !blocked
	return lifted || resumed || n.desired.Status.PolicyGeneration != r.Generation
}

// createEnactment creates the enactment of a node, and requests a probe round at
// once, so that observers announce their presence.
//
// A node with rules is adopted, for example after deletionPolicy Orphan, or after a
// user deleted the enactment. An adopted node keeps its rules until its turn comes,
// because the progress of the node is unknown; scoped failsafe ports are opened. An
// unready node is not adopted, because the rules may be the cause.
func (r *run) createEnactment(n *nodeRun) {
	if n.Live.Restricts() && n.Ready {
		n.desired.Status.AdoptedTime = r.now.DeepCopy()
		n.setPreviousRuleset(n.Live.Version, nil)
	}
	r.queueNode(n)
	r.requestRound(n)
}

// setPreviousRuleset records the ruleset of a node while waiting and after a roll back.
func (n *nodeRun) setPreviousRuleset(version string, scoped *metav1.Time) {
	n.desired.Status.PreviousRuleset, n.desired.Status.PreviousFailsafesScopedTime = version, scoped.DeepCopy()
}

// triedAsDeclared tells whether the node was tried with scoped failsafe ports, if the
// node is to have scoped failsafe ports.
func (n *nodeRun) triedAsDeclared() bool {
	return n.desired.Status.FailsafesScopedTime != nil || !n.Declared.FailsafesScoped
}

// hasLostRules tells whether a node not in flight has no rules any more, although
// the node is to have rules.
func (n *nodeRun) hasLostRules() bool {
	return RulesetFor(n.Enactment).Restricts() && n.persistedPhase != "" && n.persistedPhase != v1alpha1.PhaseProgressing &&
		!n.Live.Restricts() && n.ForeignEndpoint == ""
}

// hasReopenedFailsafes tells whether the failsafe ports of an enforced node are open
// again. The same holds after another manager had set the failsafe ports, so that the
// node never soaked with scoped failsafe ports, and the manager no longer sets them.
func (n *nodeRun) hasReopenedFailsafes() bool {
	return n.persistedPhase == v1alpha1.PhaseEnforced && n.Declared.FailsafesScoped && !n.Live.FailsafesScoped && !n.FailsafesContested &&
		n.Enactment.Status.Ruleset == n.Live.Version && n.Enactment.Status.FailsafesScopedTime != nil
}

// restoreNodeByNode tells whether lost rules or scoped failsafe ports must be restored
// node by node instead of at once: after a loss on several nodes, by hand or together
// with all of Calico, and while a node of the control plane is not ready. On a single
// node the loss is drift.
func (r *run) restoreNodeByNode(hasLost func(*nodeRun) bool) bool {
	count := 0
	for _, n := range r.nodeRuns {
		if hasLost(n) {
			count++
		}
	}
	return count > 1 || len(r.notReadyNodes(nil)) > 0
}

// queueNode makes a node wait for its turn; startNodes reports why the node waits. If the
// waiting node has the declared rules already, because a user returned to an earlier
// declaration, the node becomes Enforced.
func (r *run) queueNode(n *nodeRun) {
	status := &n.desired.Status
	hasRules := status.Ruleset != n.Declared.Version && n.stillHasDeclaredRules()
	status.PolicyGeneration, status.Ruleset = r.Generation, n.Declared.Version
	n.resetProgress()
	if !n.Live.FailsafesScoped {
		status.PreviousFailsafesScopedTime = nil // However the failsafe ports were opened, scoping is tried again.
	}
	switch {
	case hasRules:
		status.FailsafesScopedTime = status.PreviousFailsafesScopedTime
		n.setPreviousRuleset("", nil)
		r.setPhase(n, v1alpha1.PhaseEnforced, v1alpha1.ReasonUnproven,
			"Has the declared rules already: no connections were compared before and after")
	case !n.inPhase(v1alpha1.PhasePending):
		r.setPhase(n, v1alpha1.PhasePending, v1alpha1.ReasonQueued, "")
	}
}

// stillHasDeclaredRules tells whether a node not in flight has the declared ruleset, and
// had it when the node was last Enforced with that version.
func (n *nodeRun) stillHasDeclaredRules() bool {
	return n.persistedPhase != v1alpha1.PhaseProgressing && n.ForeignEndpoint == "" && n.desired.Status.AdoptedTime == nil &&
		n.Live == n.Declared && PreviousRulesetOf(n.desired) == n.Declared
}

// resetProgress removes from the enactment how far the node was.
func (n *nodeRun) resetProgress() {
	n.desired.Status.StartTime, n.desired.Status.SoakTime, n.desired.Status.FailsafesScopedTime, n.desired.Status.Baseline = nil, nil, nil, nil
	removeConfirmation(n.desired)
}
