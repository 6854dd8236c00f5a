// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"context"
	"errors"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
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
func (r *Reconciler) writeHosts(ctx context.Context, policy *plan.Policy, diff drift.Diff, may, back permission, written repaired) (
	result reconcile.Result, err error,
) {
	rollBacks, rest := diff.SplitRollBacks(back)
	var failures []error
	failed := false
	for _, part := range rollBacks {
		for _, stage := range stagesOf(part) {
			next, err := r.writeStage(ctx, policy, stage, always(true), written)
			result, failures = schedule.Sooner(result, next), append(failures, err)
			for _, w := range stage.writes {
				if written[w.Object] {
					r.Stages.RolledBack(policy.Name, w.Node, r.Clock.Now())
				}
			}
			failed = failed || stage.left(written, always(true))
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
func (r *Reconciler) writeStage(ctx context.Context, policy *plan.Policy, s stage, may permission, written repaired) (
	result reconcile.Result, err error,
) {
	result, err = r.writeAll(ctx, policy, s.writes, may, written)
	if slices.ContainsFunc(s.writes, func(w drift.Write) bool { return written[w.Object] }) {
		r.Stages.Wrote(policy.Name, s.Step, r.Clock.Now())
	}
	return result, err
}

// writeStages writes one stage after the other. A stage with a missing write holds all
// later stages.
func (r *Reconciler) writeStages(ctx context.Context, policy *plan.Policy, diff drift.Diff, may permission, written repaired) (
	result reconcile.Result, err error,
) {
	going := len(diff.Taken) == 0
	allowed := func(w drift.Write) bool { return going && may(w) }
	var failures []error
	for _, stage := range stagesOf(diff) {
		if wait := r.Stages.Wait(policy.Name, stage.Step, r.Clock.Now()); wait > 0 && slices.ContainsFunc(stage.writes, allowed) {
			result, going = schedule.Sooner(result, reconcile.Result{RequeueAfter: wait}), false
		}
		next, stageErr := r.writeStage(ctx, policy, stage, allowed, written)
		going = going && !stage.left(written, may)
		result, failures = schedule.Sooner(result, next), append(failures, stageErr)
	}
	return result, errors.Join(failures...)
}

// stage holds writes that need not wait for each other.
type stage struct {
	schedule.Step
	writes []drift.Write
}

// left tells whether a permitted write of the stage was not made.
func (s stage) left(written repaired, may permission) bool {
	return slices.ContainsFunc(s.writes, func(w drift.Write) bool { return !written[w.Object] && !w.IsConflicted() && may(w) })
}

// stagesOf returns the stages in order: first all writes, then the removals from the last
// stage to the first.
func stagesOf(diff drift.Diff) []stage {
	var stages []stage
	add := func(w drift.Write, is schedule.Step) {
		last := len(stages) - 1
		if last < 0 || stages[last].Step != is {
			stages = append(stages, stage{Step: is})
			last++
		}
		stages[last].writes = append(stages[last].writes, w)
	}
	for _, w := range diff.Writes {
		add(w, schedule.Step{Number: w.Stage})
	}
	for _, w := range diff.Removals {
		add(w, schedule.Step{Number: w.Stage, Removing: true})
	}
	return stages
}
