// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"slices"
	"time"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/plan/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// +kubebuilder:rbac:groups=cpnp.dev,resources=controlplanenodeenactments,verbs=list;watch;create;patch;delete
// +kubebuilder:rbac:groups=cpnp.dev,resources=controlplanenodeenactments/status,verbs=patch
// +kubebuilder:rbac:groups=cpnp.dev,resources=controlplanenodeenactments/spec,verbs=update

// rollOut decides the phase of every node and records the phases in the enactments. Writes
// to Calico follow from the enactments as read before: no node is started or rolled back
// without an enactment, so that a later operator knows every step. The result holds the
// nodes with enactments that differ from the decision; such nodes must not be written yet.
func (r *PolicyReconciler) rollOut(ctx context.Context, o *Observation, snapshot state.Snapshot) (
	unsettled map[string]bool, result reconcile.Result, err error,
) {
	if o.policy.Enforces() && o.hosts.Stays && snapshot.Calico.IsReadable() && !snapshot.Unconfirmed {
		return r.holdBack(ctx, o, snapshot)
	}
	if !o.policy.Enforces() || !o.hosts.Rendered() {
		if o.hosts.Declared { // without a decision, report the persisted phases
			o.rollout.Enactments = recordsOf(o.policy.Name, snapshot.Enactments)
		}
		r.History.Differing(o.policy.Name, kindEnactment, nil, r.Clock.Now())
		result, err = r.forgetIfGivenUp(ctx, o, snapshot)
		return nil, result, err
	}
	if snapshot.Unconfirmed { // the persisted enactments may have changed since
		o.rollout.Enactments = recordsOf(o.policy.Name, snapshot.Enactments)
		return nil, reconcile.Result{}, nil
	}
	if wait := r.Stages.settling(r.Clock.Now()); wait > 0 {
		// Persisted enactments are acted on. The next step is decided after the last writes have
		// settled. Reports wait until then, because the phase of a node without an enactment, and
		// the progress of the current generation, are still unknown.
		o.undecided = true
		return nil, reconcile.Result{RequeueAfter: wait}, nil
	}
	gone, failed := goneNodes(o.policy, o.hosts.Whole.Nodes, snapshot.Enactments)
	input, wait := r.rolloutInput(o, snapshot)
	input.FailedNode = failed
	decision, others := r.turns.decide(input, snapshot)
	o.rollout = decision
	on, result, err := r.record(ctx, o.policy, decision.Enactments, snapshot)
	o.rollout.Enactments = on.enactments
	_, next, forgetErr := r.forgetNodes(ctx, o.policy, slices.Concat(gone, left(o.policy.Name, nil, snapshot.Outlived)))
	for _, delay := range []time.Duration{next.RequeueAfter, decision.WakeAfter, wait, others} {
		result = sooner(result, reconcile.Result{RequeueAfter: delay})
	}
	return tolerate(on.unsettled, result, errors.Join(err, forgetErr))
}

// holdBack holds the nodes while no rules can be rendered.
func (r *PolicyReconciler) holdBack(ctx context.Context, o *Observation, snapshot state.Snapshot) (
	unsettled map[string]bool, result reconcile.Result, err error,
) {
	in := r.onRecord(o.policy, snapshot.Enactments)
	switch in.NotVerified = o.verdict.Message; {
	case o.policy.Invalid != nil:
		in.NotVerified = o.policy.Invalid.Error()
	case o.hosts.Unprotected != nil:
		in.NotVerified = o.hosts.Unprotected.Message
	}
	o.rollout = rollout.Decide(in)
	on, result, err := r.record(ctx, o.policy, o.rollout.Enactments, snapshot)
	o.rollout.Enactments = on.enactments
	return on.unsettled, result, err
}

// onRecord returns the input for a decision without rules: all nodes with an enactment.
func (r *PolicyReconciler) onRecord(policy *plan.Policy, enactments []v1alpha1.ControlPlaneNodeEnactment) rollout.Input {
	in := rollout.Input{
		Now: r.Clock.Now(), Policy: policy.Name, UID: policy.UID, Generation: policy.Generation, Rollout: policy.Spec.Rollout,
	}
	for i := range enactments {
		if e := &enactments[i]; e.Spec.Policy == policy.Name {
			in.Nodes = append(in.Nodes, rollout.Node{Name: e.Spec.Node, Enactment: e, Targets: e.Spec.Targets})
		}
	}
	return in
}

// tolerate drops an error caused by a stale cache: the next state of the cache decides.
func tolerate(unsettled map[string]bool, result reconcile.Result, err error) (map[string]bool, reconcile.Result, error) {
	if apierrors.IsConflict(err) {
		return unsettled, sooner(result, reconcile.Result{RequeueAfter: conflictDelay}), nil
	}
	return unsettled, result, err
}

// rolloutInput returns the input of the rollout, and the time left until the last writes
// have reached every node.
func (r *PolicyReconciler) rolloutInput(o *Observation, snapshot state.Snapshot) (in rollout.Input, wait time.Duration) {
	now := r.Clock.Now()
	in = rollout.Input{
		Now: now, Policy: o.policy.Name, UID: o.policy.UID, Generation: o.policy.Generation,
		Version: o.hosts.Version, Rollout: o.policy.Spec.Rollout, CutFlow: o.cut,
	}
	if !o.verdict.Holds {
		in.NotVerified, in.NotJudged = o.verdict.Message, o.doubt
	}
	in.OtherNodes, in.ControlPlaneSize = controlPlane(o.hosts.Whole.Nodes, snapshot.Nodes)
	toEnforce := r.Stages.wait(o.policy.Name, step{number: calico.StageScopedFailsafes}, now)
	toNarrow := r.Stages.wait(o.policy.Name, step{number: lastStage + 1}, now)
	for _, node := range o.hosts.Whole.Nodes {
		n := rolloutNode(o, node, snapshot)
		pending, seen := ownUnwritten(o.hostDiff, node.Name, calico.StageEndpoints), r.Stages.waitBack(o.policy.Name, node.Name, now)
		switch rollout.PhaseOf(n.Enactment) {
		case v1alpha1.PhaseProgressing, v1alpha1.PhaseEnforced:
			pending, seen = unwritten(o.hostDiff, node.Name, calico.StageEndpoints), toEnforce
			if _, narrow := rollout.RulesetFor(n.Enactment); narrow {
				pending, seen = unwritten(o.hostDiff, node.Name, calico.StageScopedFailsafes), toNarrow
			}
		}
		tries := rollout.PhaseOf(n.Enactment) == v1alpha1.PhaseProgressing
		n.Programmed = !pending && seen == 0 && (!tries || n.LiveVersion == n.Enactment.Status.Ruleset)
		if !pending {
			wait = max(wait, seen)
		}
		in.Nodes = append(in.Nodes, n)
	}
	return in, wait
}

func rolloutNode(o *Observation, node calico.Node, snapshot state.Snapshot) rollout.Node {
	n := rollout.Node{
		Name: node.Name, ForeignEndpoint: o.hosts.Foreign[node.Name],
		Enactment:   plan.EnactmentOf(o.policy.Name, node.Name, snapshot.Enactments),
		LiveVersion: liveVersion(o.policy.Name, node.Name, o.hosts.Version, snapshot.Calico.Endpoints),
	}
	n.WantsScopedFailsafes, n.FailsafesContested = o.hosts.Narrows(node.Name), contested(o.hostDiff, node.Name)
	n.FailsafesScoped = liveNarrow(o.policy.Name, node.Name, n.LiveVersion, snapshot.Calico.Felix)
	probes := plan.ProbesOf(o.hosts, node, snapshot)
	n.Targets, n.Expect = probes.Targets(), probes.Expect
	i := slices.IndexFunc(snapshot.Nodes, func(other corev1.Node) bool { return other.Name == node.Name })
	if i >= 0 {
		n.Ready, n.Created = state.IsNodeReady(&snapshot.Nodes[i]), snapshot.Nodes[i].CreationTimestamp.Time
	}
	return n
}

// liveVersion returns the version of the policy's rules on a node. If the node's interfaces
// have several versions, the result is a version other than calledFor.
func liveVersion(policy, node, calledFor string, endpoints []v3.HostEndpoint) string {
	version := ""
	for _, e := range plan.EndpointsOn(policy, node, endpoints) {
		if !calico.IsEnforcing(e) {
			continue
		}
		if version = e.Labels[calico.LabelVersion]; version != calledFor {
			return version
		}
	}
	return version
}

// contested tells whether another manager has declared the failsafe ports of a node.
func contested(diff drift.Diff, node string) bool {
	return slices.ContainsFunc(diff.Writes, func(w drift.Write) bool {
		_, felix := w.Desired.(*v3.FelixConfiguration)
		return felix && w.Conflicted() && w.Node == node
	})
}

// liveNarrow tells whether the failsafe ports of a node are scoped as declared by a version
// of the policy's rules.
func liveNarrow(policy, node, version string, configurations []v3.FelixConfiguration) bool {
	return version != "" && slices.ContainsFunc(configurations, func(f v3.FelixConfiguration) bool {
		return f.Name == calico.FelixConfigurationName(node) && f.Spec.FailsafeInboundHostPorts != nil && plan.Written(&f) &&
			f.Labels[v1alpha1.LabelPolicy] == policy && f.Labels[calico.LabelVersion] == version
	})
}

// unwritten tells whether an object needed by a node has not been written yet, among the
// node's own objects and the objects for all nodes.
func unwritten(diff drift.Diff, node string, last int) bool {
	return ownUnwritten(diff, node, last) || slices.ContainsFunc(diff.Writes, func(w drift.Write) bool {
		return w.Stage <= last && !w.Conflicted() && w.Node == ""
	})
}

// ownUnwritten is like unwritten, but only for the node's own objects.
func ownUnwritten(diff drift.Diff, node string, last int) bool {
	missing := slices.ContainsFunc(diff.Writes, func(w drift.Write) bool {
		return w.Stage <= last && !w.Conflicted() && w.Node == node
	})
	return missing || slices.ContainsFunc(diff.Removals, func(w drift.Write) bool { return w.Node == node })
}

// controlPlane returns the control-plane nodes not protected by the policy, and the size of
// the control plane; 0 if no node is marked as a control-plane node.
func controlPlane(protected []calico.Node, nodes []corev1.Node) (others []rollout.Node, members int) {
	for i := range nodes {
		node := &nodes[i]
		if !state.IsControlPlaneNode(node) {
			continue
		}
		members++
		if !slices.ContainsFunc(protected, func(n calico.Node) bool { return n.Name == node.Name }) {
			others = append(others, rollout.Node{Name: node.Name, Ready: state.IsNodeReady(node), Created: node.CreationTimestamp.Time})
		}
	}
	return others, members
}
