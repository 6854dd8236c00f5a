// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/report"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
	"github.com/cpnp-dev/cpnp-operator/internal/schedule"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// orphanReason is the reason for the rollback of a node.
const orphanReason = "The policy is being deleted, and leaves no rules behind that were not tried"

// latestStarts stands for nodes that the cache may not show as started yet.
const latestStarts = "nodes with rules on trial, which the cache may not show yet"

// leftOnTrial returns the nodes of an orphaned policy whose rules on trial are not rolled
// back yet, because nobody would roll back after the policy is gone. The wait for Calico
// ends after a while. Nodes that keep rules on trial are told.
func (r *Reconciler) leftOnTrial(o Observation, snapshot state.Snapshot) (nodes []string, result reconcile.Result) {
	nodes = untried(o.policy, snapshot)
	switch {
	case o.policy.Spec.Suspend: // a suspended policy writes no rollback
		r.leftUntried(o.policy, nodes)
		return nil, reconcile.Result{}
	case snapshot.Unconfirmed:
		return append(nodes, latestStarts), reconcile.Result{RequeueAfter: timing.CacheLag}
	}
	for _, e := range recordsOf(o.policy.Name, snapshot.Enactments) {
		rollsBack := func(w drift.Write) bool { return w.RollsBack && w.Node == e.Spec.Node }
		pending := slices.ContainsFunc(slices.Concat(o.hostDiff.Writes, o.hostDiff.Removals), rollsBack)
		if (pending || o.unsettled[e.Spec.Node]) && !slices.Contains(nodes, e.Spec.Node) {
			nodes = append(nodes, e.Spec.Node)
		}
	}
	if len(nodes) > 0 && !snapshot.OnHosts().Availability().Settling && !r.hasPatience(o.policy) {
		r.leftUntried(o.policy, nodes)
		return nil, reconcile.Result{}
	}
	return nodes, reconcile.Result{}
}

func (r *Reconciler) leftUntried(policy *plan.Policy, nodes []string) {
	for _, node := range nodes {
		r.Reporter.event(policy, report.UntriedRulesLeft(policy.Name, node))
	}
}

// untried returns the nodes with rules in trial. While the backend does not answer, started
// nodes in phases other than Enforced count as well, because such nodes may have rules in
// trial.
func untried(policy *plan.Policy, snapshot state.Snapshot) []string {
	var nodes []string
	endpoints := snapshot.OnHosts().HostEndpoints()
	for _, e := range recordsOf(policy.Name, snapshot.Enactments) {
		phase := rollout.PhaseOf(&e)
		hidden := unread(policy, snapshot.OnHosts()) && phase != "" && phase != v1alpha1.PhaseEnforced
		if hidden || schedule.IsInFlight(&e, endpoints) {
			nodes = append(nodes, e.Spec.Node)
		}
	}
	return nodes
}
