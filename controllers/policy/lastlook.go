// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"context"
	"fmt"
	"slices"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cpnp-dev/cpnp-operator/internal/pipeline"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/repair"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// cleared remembers for each policy the last answer of the API server about remaining
// objects. The zero value is ready to use. cleared is used only by the single worker for
// policies.
type cleared map[string]clearing

type clearing struct {
	repair.Ending
	at   time.Time
	left []string
}

func (c *cleared) forget(policy string) { delete(*c, policy) }

func (c *cleared) note(policy *plan.Policy, at time.Time, left []string) {
	if *c == nil {
		*c = cleared{}
	}
	(*c)[policy.Name] = clearing{Ending: repair.EndingOf(policy), at: at, left: left}
}

// lastLook asks the API server for remaining objects of a policy after the cache shows
// none, rolls back the objects found, and returns their names. The cache may not show
// recent writes yet, and an overlooked object would stay for good. The API server is asked
// until no object is left, and not again afterwards.
func (r *Reconciler) lastLook(ctx context.Context, policy *plan.Policy, snapshot state.Snapshot) (
	left []string, result reconcile.Result, err error,
) {
	now := r.Clock.Now()
	if before, asked := r.cleared[policy.Name]; asked && before.Ending == repair.EndingOf(policy) {
		if wait := before.at.Add(timing.CacheLag).Sub(now); len(before.left) == 0 || wait > 0 {
			return before.left, reconcile.Result{RequeueAfter: max(0, wait)}, nil
		}
	}
	over, err := r.writingIsOver(ctx, policy)
	if err != nil || !over {
		return []string{"what was being written when this was declared"}, reconcile.Result{RequeueAfter: timing.WritingPoll}, err
	}
	there, left, err := r.leftNow(ctx, policy, snapshot)
	if err != nil {
		return []string{"what the API server has, which could not be asked: " + repair.SteadyError(err).Error()}, reconcile.Result{}, err
	}
	r.cleared.note(policy, now, left)
	result, err = r.apply(ctx, &there)
	return left, result, err
}

// writingIsOver tells whether all reconciliations have ended that may still write for the
// policy. Reconciliations begun from now on see the end of the policy in the cache;
// reconciliations begun before must have ended.
func (r *Reconciler) writingIsOver(ctx context.Context, policy *plan.Policy) (bool, error) {
	policies, err := r.Observe.ListPolicies(ctx)
	if err != nil {
		return false, err
	}
	compiled := plan.Compile(policies)
	if known := plan.FindPolicy(compiled, policy.Name); known != nil && known.UID == policy.UID && known.Claims() {
		return false, nil
	}
	return r.Writing.Over(repair.EndingOf(policy)), nil
}

// leftNow asks the API server for remaining objects of the policy. there compares the
// managed objects; left holds the names of all remaining objects.
func (r *Reconciler) leftNow(ctx context.Context, policy *plan.Policy, snapshot state.Snapshot) (
	there pipeline.Assessment, left []string, err error,
) {
	live, err := r.Observe.RefreshSnapshot(ctx, snapshot)
	if err != nil {
		return pipeline.Assessment{}, nil, err
	}
	if live.NetworkPolicies, err = r.Observe.NetworkPoliciesNow(ctx); err != nil {
		return pipeline.Assessment{}, nil, err
	}
	nodes, records, err := r.Observe.NodesNow(ctx)
	if err != nil {
		return pipeline.Assessment{}, nil, err
	}
	services, err := r.Observe.ServicesNow(ctx)
	if err != nil {
		return pipeline.Assessment{}, nil, fmt.Errorf("looking for what is left: %w", err)
	}
	live.Unconfirmed = false
	there = r.Assessor.AssessOnce(policy, plan.Compile(live.Policies), live)
	left = slices.Concat(r.waitedFor(there), r.recordedFor(policy, there.Policies, nodes, records, services))
	if r.awaitsBackend(policy, live.OnHosts()) {
		left = append(left, calicoUnanswered)
	}
	return there, left, nil
}
