// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"slices"
	"time"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/intent"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
	"github.com/cpnp-dev/cpnp-operator/internal/schedule"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// Rollouts runs the step rollout, for all policies.
type Rollouts struct {
	// Stages tells how long the last writes may still need to reach the nodes.
	Stages *schedule.Stages

	turns schedule.Turns
}

// Decide decides the phase of every node of the policy. Without a decision, the persisted
// phases hold, and are reported. again is when to decide again; 0 if an event will tell.
func (r *Rollouts) Decide(a *Assessment, now time.Time) (again time.Duration) {
	enforces := a.Policy.Enforces() && a.Hosts.Rendered()
	switch {
	case a.Policy.Intent() == intent.RollBack:
		a.decideOnEnactments(now, intent.RollBack, a.Policy.RollBackReason())
	case a.Hosts.Intent == intent.Hold && mayHold(a):
		a.decideOnEnactments(now, intent.Hold, holdReason(a))
	case enforces && !a.Snapshot.Unconfirmed:
		return r.advance(a, now)
	case a.Hosts.Declared:
		a.Rollout.Enactments = EnactmentsOf(a.Policy.Name, a.Snapshot.Enactments)
	}
	if !enforces && isGivenUp(a) {
		a.Leaving = EnactmentsOutside(a.Policy.Name, nil, a.Snapshot.Enactments)
	}
	return 0
}

// decideOnEnactments decides for all nodes with an enactment, without rules to roll out.
func (a *Assessment) decideOnEnactments(now time.Time, to intent.Intent, reason string) {
	in := newInput(a.Policy, now)
	in.Intent, in.Reason = to, reason
	for _, e := range EnactmentsOf(a.Policy.Name, a.Snapshot.Enactments) {
		in.Nodes = append(in.Nodes, rollout.Node{Name: e.Spec.Node, Enactment: &e, Targets: e.Spec.Targets})
	}
	a.setDecision(rollout.Decide(in))
}

func newInput(policy *plan.Policy, now time.Time) rollout.Input {
	return rollout.Input{
		Now: now, Intent: intent.Enforce,
		Policy: policy.Name, UID: policy.UID, Generation: policy.Generation, Rollout: policy.Spec.Rollout,
	}
}

// mayHold tells whether nodes in flight may be rolled back while the rules are not known.
func mayHold(a *Assessment) bool {
	switch {
	case a.Snapshot.Unconfirmed:
		return false
	case a.Policy.Intent() == intent.Orphan:
		return !a.Policy.Spec.Suspend
	}
	return a.Policy.Enforces() && a.Live().Availability().Readable
}

// orphanReason is the reason for the rollback of a node.
const orphanReason = "The policy is being deleted, and leaves no rules behind that were not tried"

// holdReason returns why the rules are not known.
func holdReason(a *Assessment) string {
	switch {
	case a.Policy.Intent() == intent.Orphan:
		return orphanReason
	case a.Policy.Invalid != nil:
		return a.Policy.Invalid.Error()
	case a.Hosts.Unprotected != nil:
		return a.Hosts.Unprotected.Message
	}
	return a.Verdict.Message
}

// advance decides which nodes are started, advance or are rolled back.
func (r *Rollouts) advance(a *Assessment, now time.Time) (again time.Duration) {
	if wait := r.Stages.Settling(now); wait > 0 {
		// Persisted enactments are acted on. The next step is decided after the last writes have
		// settled. Reports wait until then, because the phase of a node without an enactment, and
		// the progress of the current generation, are still unknown.
		a.Undecided = true
		return wait
	}
	gone, failed := goneNodes(a.Policy, a.Hosts.Whole.Nodes, a.Snapshot.Enactments)
	a.Leaving = slices.Concat(gone, EnactmentsOutside(a.Policy.Name, nil, a.Snapshot.Outlived))
	input, wait := r.input(a, now)
	input.FailedNode = failed
	decision, others := r.turns.Decide(input, a.Snapshot)
	a.setDecision(decision)
	for _, delay := range []time.Duration{decision.WakeAfter, wait, others} {
		if delay > 0 && (again == 0 || delay < again) {
			again = delay
		}
	}
	return again
}

// setDecision notes a decision, and finds the nodes whose persisted enactments differ.
func (a *Assessment) setDecision(decision rollout.Decision) {
	a.Rollout, a.Decided, a.Unsettled = decision, true, map[string]bool{}
	for i := range decision.Enactments {
		want := &decision.Enactments[i]
		if live := plan.EnactmentOf(a.Policy.Name, want.Spec.Node, a.Snapshot.Enactments); live == nil || !SameEnactment(want, live) {
			a.Unsettled[want.Spec.Node] = true
		}
	}
}

// UntriedNodes returns the nodes with rules in trial. While the backend does not answer,
// started nodes in phases other than Enforced count as well, because such nodes may have
// rules in trial.
func UntriedNodes(policy *plan.Policy, snapshot state.Snapshot) []string {
	var nodes []string
	endpoints, hidden := snapshot.OnHosts().HostEndpoints(), IsUnread(policy, snapshot.OnHosts())
	for _, e := range EnactmentsOf(policy.Name, snapshot.Enactments) {
		phase := rollout.PhaseOf(&e)
		if hidden && phase != "" && phase != v1alpha1.PhaseEnforced || schedule.IsInFlight(&e, endpoints) {
			nodes = append(nodes, e.Spec.Node)
		}
	}
	return nodes
}
