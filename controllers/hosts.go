// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"slices"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/plan/calico"
)

// +kubebuilder:rbac:groups=projectcalico.org,resources=tiers;globalnetworksets;globalnetworkpolicies;tier.globalnetworkpolicies;hostendpoints;felixconfigurations,verbs=create;patch;delete

// hostKinds are the kinds of Calico that are written.
var hostKinds = []string{
	v3.KindTier, v3.KindGlobalNetworkSet, v3.KindGlobalNetworkPolicy, v3.KindHostEndpoint, v3.KindFelixConfiguration,
}

// writeHosts writes the objects of Calico stage by stage: a stage begins when
// every node has had the time to see what the one before it wrote. Where an
// object of a stage could not be written, nothing of a later one is: every
// prefix of the sequence leaves the cluster reachable, and this is one.
func (r *PolicyReconciler) writeHosts(ctx context.Context, policy *plan.Policy, diff drift.Diff, may permission, written repaired) (
	result reconcile.Result, err error,
) {
	going := len(diff.Taken) == 0
	allowed := func(w drift.Write) bool { return going && may(w) }
	var failures []error
	for _, stage := range stagesOf(diff) {
		if wait := r.Stages.wait(policy.Name, stage.step, r.Clock.Now()); wait > 0 && slices.ContainsFunc(stage.writes, allowed) {
			result, going = sooner(result, reconcile.Result{RequeueAfter: wait}), false
		}
		next, stageErr := r.writeAll(ctx, policy, stage.writes, allowed, written)
		if slices.ContainsFunc(stage.writes, func(w drift.Write) bool { return written[w.Object] }) {
			r.Stages.wrote(policy.Name, stage.step, r.Clock.Now())
		}
		going = going && !slices.ContainsFunc(stage.writes, func(w drift.Write) bool {
			return !written[w.Object] && !w.Conflicted() && may(w)
		})
		result, failures = sooner(result, next), append(failures, stageErr)
	}
	r.differing(policy, slices.Concat(diff.Writes, diff.Removals), hostKinds...)
	return result, errors.Join(failures...)
}

// stage is writes that need not wait for each other.
type stage struct {
	step
	writes []drift.Write
}

// stagesOf returns the stages in their order: first all that is written, then,
// backwards, what is taken away.
func stagesOf(diff drift.Diff) []stage {
	var stages []stage
	add := func(w drift.Write, is step) {
		last := len(stages) - 1
		if last < 0 || stages[last].step != is {
			stages = append(stages, stage{step: is})
			last++
		}
		stages[last].writes = append(stages[last].writes, w)
	}
	for _, w := range diff.Writes {
		add(w, step{number: calico.Stage(w.Desired)})
	}
	for _, w := range diff.Removals {
		add(w, step{number: calico.Stage(w.Live), removing: true})
	}
	return stages
}
