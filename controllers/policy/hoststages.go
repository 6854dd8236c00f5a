// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"context"
	"errors"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/pipeline"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/schedule"
)

// +kubebuilder:rbac:groups=projectcalico.org,resources=tiers;globalnetworksets;globalnetworkpolicies;tier.globalnetworkpolicies;hostendpoints;felixconfigurations,verbs=create;patch;delete

// writeHosts writes Calico's objects stage by stage. A stage begins after the settle time
// of the stage before. If an object of a stage could not be written, no later stage is
// written: every prefix of the sequence leaves the cluster reachable, and an interrupted
// sequence is such a prefix.
//
// A write that rolls back waits neither for a stage nor for failed writes. All other writes
// wait for the roll back.
func (r *Reconciler) writeHosts(
	ctx context.Context, policy *plan.Policy, diff drift.Diff, may, back pipeline.Permission, written pipeline.Written,
) (result reconcile.Result, err error) {
	rollBacks, rest := diff.SplitRollBacks(back)
	var failures []error
	failed := false
	for _, part := range rollBacks {
		for _, stage := range pipeline.StagesOf(part) {
			next, err := r.writeStage(ctx, policy, stage, pipeline.Always(true), written)
			result, failures = schedule.Sooner(result, next), append(failures, err)
			for _, w := range stage.Writes {
				if written[w.Object] {
					r.Rollouts.Stages.RolledBack(policy.Name, w.Node, r.Clock.Now())
				}
			}
			failed = failed || stage.IsUnfinished(written, pipeline.Always(true))
		}
	}
	if failed { // a node that is not rolled back yet still needs its rules
		rest.Removals = slices.DeleteFunc(rest.Removals, func(w drift.Write) bool { return w.Stage <= backend.StageRules })
	}
	next, stagesErr := r.writeStages(ctx, policy, rest, may, written)
	r.differing(policy, slices.Concat(diff.Writes, diff.Removals), backend.KindNames()...)
	return schedule.Sooner(result, next), errors.Join(append(failures, stagesErr)...)
}

// writeStage writes one stage, and records the time of the write.
func (r *Reconciler) writeStage(
	ctx context.Context, policy *plan.Policy, s pipeline.Stage, may pipeline.Permission, written pipeline.Written,
) (result reconcile.Result, err error) {
	result, err = r.writeAll(ctx, policy, s.Writes, may, written)
	if s.IsWritten(written) {
		r.Rollouts.Stages.Wrote(policy.Name, s.Step, r.Clock.Now())
	}
	return result, err
}

// writeStages writes one stage after the other. A stage with a missing write holds all
// later stages.
func (r *Reconciler) writeStages(
	ctx context.Context, policy *plan.Policy, diff drift.Diff, may pipeline.Permission, written pipeline.Written,
) (result reconcile.Result, err error) {
	going := len(diff.Taken) == 0
	allowed := func(w drift.Write) bool { return going && may(w) }
	var failures []error
	for _, stage := range pipeline.StagesOf(diff) {
		if wait := r.Rollouts.Stages.Wait(policy.Name, stage.Step, r.Clock.Now()); wait > 0 && slices.ContainsFunc(stage.Writes, allowed) {
			result, going = schedule.Sooner(result, reconcile.Result{RequeueAfter: wait}), false
		}
		next, stageErr := r.writeStage(ctx, policy, stage, allowed, written)
		going = going && !stage.IsUnfinished(written, may)
		result, failures = schedule.Sooner(result, next), append(failures, stageErr)
	}
	return result, errors.Join(failures...)
}
