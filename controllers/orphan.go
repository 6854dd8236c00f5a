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

// goesUntried is why a node goes back.
const goesUntried = "The policy is being deleted, and leaves no rules behind that were not tried"

// leaveBehind lets go of a policy whose objects stay. What is being tried on nodes
// goes back: nobody would, once the policy is gone. It says whether that is done, or
// has been waited for long enough.
func (r *PolicyReconciler) leaveBehind(ctx context.Context, policy *plan.Policy, policies []plan.Policy, snapshot state.Snapshot) (
	done bool, result reconcile.Result, err error,
) {
	if policy.Spec.Suspend { // nothing is written any more
		r.leftUntried(policy, untried(policy, snapshot))
		return true, reconcile.Result{}, nil
	}
	if snapshot.Unconfirmed { // what was begun a moment ago may not have reached the cache
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

// untried returns the nodes that have rules which were not tried, or may have: while
// Calico does not answer, those that are not done.
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

// goBack has the nodes that are under way go back, first on record, and returns
// those that have not yet.
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
