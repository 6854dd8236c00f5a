// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
	"github.com/cpnp-dev/cpnp-operator/internal/schedule"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// input returns the input of the rollout, and the time left until the last writes have
// reached every node.
func (r *Rollouts) input(a *Assessment, now time.Time) (in rollout.Input, wait time.Duration) {
	in = newInput(a.Policy, now)
	in.CutFlow = a.Cut
	if !a.Verdict.Holds {
		in.Reason, in.NotJudged = a.Verdict.Message, a.Doubt
	}
	in.OtherNodes, in.EtcdSize = controlPlane(a.Hosts.Whole.Nodes, a.Snapshot.Nodes)
	toEnforce := r.Stages.Wait(a.Policy.Name, schedule.Step{Number: backend.StageScopedFailsafes}, now)
	toScope := r.Stages.Wait(a.Policy.Name, schedule.Step{Number: schedule.LastStage + 1}, now)
	endpoints := a.Live().HostEndpoints()
	for _, node := range a.Hosts.Whole.Nodes {
		n := rolloutNode(a, node, endpoints)
		pending, seen := ownUnwritten(a.HostDiff, node.Name, backend.StageEndpoints), r.Stages.WaitRollBack(a.Policy.Name, node.Name, now)
		switch rollout.PhaseOf(n.Enactment) {
		case v1alpha1.PhaseProgressing, v1alpha1.PhaseEnforced:
			pending, seen = unwritten(a.HostDiff, node.Name, backend.StageEndpoints), toEnforce
			if rollout.RulesetFor(n.Enactment).FailsafesScoped {
				pending, seen = unwritten(a.HostDiff, node.Name, backend.StageScopedFailsafes), toScope
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

func rolloutNode(a *Assessment, node backend.Node, endpoints []backend.Endpoint) rollout.Node {
	n := rollout.Node{
		Name: node.Name, ForeignEndpoint: a.Hosts.Foreign[node.Name], Declared: node.Ruleset,
		Enactment:          plan.EnactmentOf(a.Policy.Name, node.Name, a.Snapshot.Enactments),
		Live:               plan.LiveRuleset(a.Policy.Name, node.Name, node.Ruleset.Version, a.Live(), endpoints),
		FailsafesContested: failsafesContested(a.HostDiff, node.Name),
	}
	probes := plan.ProbesOf(a.Hosts, node, a.Snapshot)
	n.Targets, n.Expect = probes.Targets(), probes.ExpectedOutcome
	i := slices.IndexFunc(a.Snapshot.Nodes, func(other *corev1.Node) bool { return other.Name == node.Name })
	if i >= 0 {
		n.Ready, n.Created = state.IsNodeReady(a.Snapshot.Nodes[i]), a.Snapshot.Nodes[i].CreationTimestamp.Time
	}
	return n
}

// failsafesContested tells whether another manager has declared the failsafe ports of a
// node.
func failsafesContested(diff drift.Diff, node string) bool {
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

// controlPlane returns the control-plane nodes not protected by the policy, and the number of
// nodes with a member of etcd; 0 if no node is marked as a control-plane node.
func controlPlane(protected []backend.Node, nodes []*corev1.Node) (others []rollout.Node, members int) {
	controlPlane, etcd := 0, 0
	for _, node := range nodes {
		if !state.IsControlPlaneNode(node) {
			continue
		}
		controlPlane++
		if state.IsEtcdNode(node) {
			etcd++
		}
		if !slices.ContainsFunc(protected, func(n backend.Node) bool { return n.Name == node.Name }) {
			others = append(others, rollout.Node{Name: node.Name, Ready: state.IsNodeReady(node), Created: node.CreationTimestamp.Time})
		}
	}
	if etcd > 0 { // the distribution marks members of etcd, and other nodes have none
		return others, etcd
	}
	return others, controlPlane
}
