// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/intent"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
	"github.com/cpnp-dev/cpnp-operator/internal/schedule"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// decideRollout decides the phase of every node of the policy. Without a decision, the
// persisted phases hold, and are reported.
func (r *Reconciler) decideRollout(o *Observation, snapshot state.Snapshot) reconcile.Result {
	enforces := o.policy.Enforces() && o.hosts.Rendered()
	switch {
	case o.policy.Intent() == intent.RollBack:
		r.decideOnRecords(o, snapshot, intent.RollBack, o.policy.RollBackReason())
	case o.hosts.Intent == intent.Hold && mayHold(*o, snapshot):
		r.decideOnRecords(o, snapshot, intent.Hold, holdReason(*o))
	case enforces && !snapshot.Unconfirmed:
		return r.continueRollout(o, snapshot)
	case o.hosts.Declared:
		o.rollout.Enactments = recordsOf(o.policy.Name, snapshot.Enactments)
	}
	if !enforces && isGivenUp(*o, snapshot) {
		o.leaving = left(o.policy.Name, nil, snapshot.Enactments)
	}
	return reconcile.Result{}
}

// decideOnRecords decides for all nodes with an enactment, without rules to roll out.
func (r *Reconciler) decideOnRecords(o *Observation, snapshot state.Snapshot, to intent.Intent, reason string) {
	in := r.newInput(o.policy)
	in.Intent, in.Reason = to, reason
	for _, e := range recordsOf(o.policy.Name, snapshot.Enactments) {
		in.Nodes = append(in.Nodes, rollout.Node{Name: e.Spec.Node, Enactment: &e, Targets: e.Spec.Targets})
	}
	o.decide(rollout.Decide(in), snapshot)
}

func (r *Reconciler) newInput(policy *plan.Policy) rollout.Input {
	return rollout.Input{
		Now: r.Clock.Now(), Intent: intent.Enforce,
		Policy: policy.Name, UID: policy.UID, Generation: policy.Generation, Rollout: policy.Spec.Rollout,
	}
}

// mayHold tells whether nodes in flight may be rolled back while the rules are not known.
func mayHold(o Observation, snapshot state.Snapshot) bool {
	switch {
	case snapshot.Unconfirmed:
		return false
	case o.policy.Intent() == intent.Orphan:
		return !o.policy.Spec.Suspend
	}
	return o.policy.Enforces() && snapshot.OnHosts().Availability().Readable
}

// holdReason returns why the rules are not known.
func holdReason(o Observation) string {
	switch {
	case o.policy.Intent() == intent.Orphan:
		return orphanReason
	case o.policy.Invalid != nil:
		return o.policy.Invalid.Error()
	case o.hosts.Unprotected != nil:
		return o.hosts.Unprotected.Message
	}
	return o.verdict.Message
}

// continueRollout decides which nodes are started, advance or are rolled back.
func (r *Reconciler) continueRollout(o *Observation, snapshot state.Snapshot) (result reconcile.Result) {
	if wait := r.Stages.Settling(r.Clock.Now()); wait > 0 {
		// Persisted enactments are acted on. The next step is decided after the last writes have
		// settled. Reports wait until then, because the phase of a node without an enactment, and
		// the progress of the current generation, are still unknown.
		o.undecided = true
		return reconcile.Result{RequeueAfter: wait}
	}
	gone, failed := goneNodes(o.policy, o.hosts.Whole.Nodes, snapshot.Enactments)
	o.leaving = slices.Concat(gone, left(o.policy.Name, nil, snapshot.Outlived))
	input, wait := r.rolloutInput(o, snapshot)
	input.FailedNode = failed
	decision, others := r.turns.Decide(input, snapshot)
	o.decide(decision, snapshot)
	for _, delay := range []time.Duration{decision.WakeAfter, wait, others} {
		result = schedule.Sooner(result, reconcile.Result{RequeueAfter: delay})
	}
	return result
}

// decide takes a decision, and finds the nodes whose persisted enactments differ.
func (o *Observation) decide(decision rollout.Decision, snapshot state.Snapshot) {
	o.rollout, o.decided, o.unsettled = decision, true, map[string]bool{}
	for i := range decision.Enactments {
		want := &decision.Enactments[i]
		if live := plan.EnactmentOf(o.policy.Name, want.Spec.Node, snapshot.Enactments); live == nil || !sameRecord(want, live) {
			o.unsettled[want.Spec.Node] = true
		}
	}
}

// rolloutInput returns the input of the rollout, and the time left until the last writes
// have reached every node.
func (r *Reconciler) rolloutInput(o *Observation, snapshot state.Snapshot) (in rollout.Input, wait time.Duration) {
	in = r.newInput(o.policy)
	now := in.Now
	in.CutFlow = o.cut
	if !o.verdict.Holds {
		in.Reason, in.NotJudged = o.verdict.Message, o.doubt
	}
	in.OtherNodes, in.ControlPlaneSize = controlPlane(o.hosts.Whole.Nodes, snapshot.Nodes)
	toEnforce := r.Stages.Wait(o.policy.Name, schedule.Step{Number: backend.StageScopedFailsafes}, now)
	toScope := r.Stages.Wait(o.policy.Name, schedule.Step{Number: schedule.LastStage + 1}, now)
	endpoints := o.live.HostEndpoints()
	for _, node := range o.hosts.Whole.Nodes {
		n := rolloutNode(o, node, snapshot, endpoints)
		pending, seen := ownUnwritten(o.hostDiff, node.Name, backend.StageEndpoints), r.Stages.WaitRollBack(o.policy.Name, node.Name, now)
		switch rollout.PhaseOf(n.Enactment) {
		case v1alpha1.PhaseProgressing, v1alpha1.PhaseEnforced:
			pending, seen = unwritten(o.hostDiff, node.Name, backend.StageEndpoints), toEnforce
			if rollout.RulesetFor(n.Enactment).FailsafesScoped {
				pending, seen = unwritten(o.hostDiff, node.Name, backend.StageScopedFailsafes), toScope
			}
		}
		tries := rollout.PhaseOf(n.Enactment) == v1alpha1.PhaseProgressing
		n.Programmed = !pending && seen == 0 && (!tries || n.Live.Version == n.Enactment.Status.Ruleset)
		if !pending {
			wait = max(wait, seen)
		}
		in.Nodes = append(in.Nodes, n)
	}
	return in, wait
}

func rolloutNode(o *Observation, node backend.Node, snapshot state.Snapshot, endpoints []backend.Endpoint) rollout.Node {
	n := rollout.Node{
		Name: node.Name, ForeignEndpoint: o.hosts.Foreign[node.Name], Declared: node.Ruleset,
		Enactment:          plan.EnactmentOf(o.policy.Name, node.Name, snapshot.Enactments),
		Live:               plan.LiveRuleset(o.policy.Name, node.Name, node.Ruleset.Version, o.live, endpoints),
		FailsafesContested: contested(o.hostDiff, node.Name),
	}
	probes := plan.ProbesOf(o.hosts, node, snapshot)
	n.Targets, n.Expect = probes.Targets(), probes.ExpectedOutcome
	i := slices.IndexFunc(snapshot.Nodes, func(other corev1.Node) bool { return other.Name == node.Name })
	if i >= 0 {
		n.Ready, n.Created = state.IsNodeReady(&snapshot.Nodes[i]), snapshot.Nodes[i].CreationTimestamp.Time
	}
	return n
}

// contested tells whether another manager has declared the failsafe ports of a node.
func contested(diff drift.Diff, node string) bool {
	return slices.ContainsFunc(diff.Writes, func(w drift.Write) bool {
		return w.Stage == backend.StageScopedFailsafes && w.Desired != nil && w.IsConflicted() && w.Node == node
	})
}

// unwritten tells whether an object needed by a node has not been written yet, among the
// node's own objects and the objects for all nodes.
func unwritten(diff drift.Diff, node string, last int) bool {
	return ownUnwritten(diff, node, last) || slices.ContainsFunc(diff.Writes, func(w drift.Write) bool {
		return w.Stage <= last && !w.IsConflicted() && w.Node == ""
	})
}

// ownUnwritten is like unwritten, but only for the node's own objects.
func ownUnwritten(diff drift.Diff, node string, last int) bool {
	missing := slices.ContainsFunc(diff.Writes, func(w drift.Write) bool {
		return w.Stage <= last && !w.IsConflicted() && w.Node == node
	})
	return missing || slices.ContainsFunc(diff.Removals, func(w drift.Write) bool { return w.Node == node })
}

// controlPlane returns the control-plane nodes not protected by the policy, and the size of
// the control plane; 0 if no node is marked as a control-plane node.
func controlPlane(protected []backend.Node, nodes []corev1.Node) (others []rollout.Node, members int) {
	for i := range nodes {
		node := &nodes[i]
		if !state.IsControlPlaneNode(node) {
			continue
		}
		members++
		if !slices.ContainsFunc(protected, func(n backend.Node) bool { return n.Name == node.Name }) {
			others = append(others, rollout.Node{Name: node.Name, Ready: state.IsNodeReady(node), Created: node.CreationTimestamp.Time})
		}
	}
	return others, members
}
