// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/pipeline"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/report"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// latestStarts stands for nodes that the cache may not show as started yet.
const latestStarts = "nodes with rules on trial, which the cache may not show yet"

// leftOnTrial returns the nodes of an orphaned policy whose rules on trial are not rolled
// back yet, because nobody would roll back after the policy is gone. The wait for Calico
// ends after a while. Nodes that keep rules on trial are told.
func (r *Reconciler) leftOnTrial(a pipeline.Assessment) (nodes []string, result reconcile.Result) {
	nodes = pipeline.UntriedNodes(a.Policy, a.Snapshot)
	switch {
	case a.Policy.Spec.Suspend: // a suspended policy writes no rollback
		r.leftUntried(a.Policy, nodes)
		return nil, reconcile.Result{}
	case a.Snapshot.Unconfirmed:
		return append(nodes, latestStarts), reconcile.Result{RequeueAfter: timing.CacheLag}
	}
	for _, e := range pipeline.EnactmentsOf(a.Policy.Name, a.Snapshot.Enactments) {
		rollsBack := func(w drift.Write) bool { return w.RollsBack && w.Node == e.Spec.Node }
		pending := slices.ContainsFunc(slices.Concat(a.HostDiff.Writes, a.HostDiff.Removals), rollsBack)
		if (pending || a.Unsettled[e.Spec.Node]) && !slices.Contains(nodes, e.Spec.Node) {
			nodes = append(nodes, e.Spec.Node)
		}
	}
	if len(nodes) > 0 && !a.Live().Availability().Settling && !r.hasPatience(a.Policy) {
		r.leftUntried(a.Policy, nodes)
		return nil, reconcile.Result{}
	}
	return nodes, reconcile.Result{}
}

func (r *Reconciler) leftUntried(policy *plan.Policy, nodes []string) {
	for _, node := range nodes {
		r.Reporter.Emit(policy, report.UntriedRulesLeft(policy.Name, node))
	}
}
