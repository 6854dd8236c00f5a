// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/report"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// goesUntried is the reason for the roll back of a node.
const goesUntried = "The policy is being deleted, and leaves no rules behind that were not tried"

// leaveBehind orphans the objects of a policy. Rules in trial are rolled back first,
// because nobody would roll back after the policy is gone. done tells whether the roll back
// is complete or has been waited for long enough.
func (r *PolicyReconciler) leaveBehind(ctx context.Context, policy *plan.Policy, policies []plan.Policy, snapshot state.Snapshot) (
	done bool, result reconcile.Result, err error,
) {
	if policy.Spec.Suspend { // a suspended policy writes no roll back
		r.leftUntried(policy, untried(policy, snapshot))
		return true, reconcile.Result{}, nil
	}
	if snapshot.Unconfirmed { // the cache may not show the latest starts of nodes
		return false, reconcile.Result{RequeueAfter: cacheLag}, nil
	}
	nodes, err := r.goBack(ctx, policy, policies, snapshot)
	if len(nodes) == 0 {
		return true, reconcile.Result{}, nil
	}
	if !snapshot.Calico.Settling && !r.patience.waits(policy.Name, r.Clock.Now()) {
		r.leftUntried(policy, nodes)
		return true, reconcile.Result{}, nil
	}
	return false, reconcile.Result{RequeueAfter: lookAgain}, err
}

func (r *PolicyReconciler) leftUntried(policy *plan.Policy, nodes []string) {
	for _, node := range nodes {
		r.Reporter.event(policy, report.UntriedRulesLeft(policy.Name, node))
	}
}

// untried returns the nodes with rules in trial. While Calico does not answer, started
// nodes in phases other than Enforced count as well, because such nodes may have rules in
// trial.
func untried(policy *plan.Policy, snapshot state.Snapshot) []string {
	var nodes []string
	for _, e := range recordsOf(policy.Name, snapshot.Enactments) {
		phase := rollout.PhaseOf(&e)
		hidden := unread(policy, snapshot.Calico) && phase != "" && phase != v1alpha1.PhaseEnforced
		if hidden || underWay(&e, snapshot.Calico.Endpoints) {
			nodes = append(nodes, e.Spec.Node)
		}
	}
	return nodes
}

// goBack rolls back the nodes in flight, first in the enactments, and returns the nodes not
// rolled back yet.
func (r *PolicyReconciler) goBack(ctx context.Context, policy *plan.Policy, policies []plan.Policy, snapshot state.Snapshot) (
	nodes []string, err error,
) {
	in := r.onRecord(policy, snapshot.Enactments)
	in.NotVerified = goesUntried
	decision := rollout.Decide(in)
	on, _, err := r.record(ctx, policy, decision.Enactments, snapshot)
	hosts := plan.GoingBack(policy, snapshot)
	diff := drift.Hosts(policy, policies, hosts, snapshot.Calico)
	back := func(w drift.Write) bool { return !on.unsettled[w.Node] }
	_, writeErr := r.writeHosts(ctx, policy, diff, always(false), back, repaired{})
	nodes = untried(policy, snapshot)
	for _, node := range in.Nodes {
		goes := func(w drift.Write) bool { return w.RollsBack && w.Node == node.Name }
		has := slices.ContainsFunc(slices.Concat(diff.Writes, diff.Removals), goes)
		if (has || on.unsettled[node.Name]) && !slices.Contains(nodes, node.Name) {
			nodes = append(nodes, node.Name)
		}
	}
	return nodes, errors.Join(err, writeErr)
}
