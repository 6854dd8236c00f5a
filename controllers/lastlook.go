// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// writingDelay is how soon to check again whether running writes have ended.
const writingDelay = 100 * time.Millisecond

// cleared remembers for each policy the last answer of the API server about remaining
// objects. The zero value is ready to use. cleared is used only by the single worker for
// policies.
type cleared map[string]clearing

type clearing struct {
	ending
	at   time.Time
	left []string
}

// ending is the cause of a roll back: the deletion of the policy, or the annotation.
type ending struct {
	policy   types.UID
	deletion bool
}

func endingOf(policy *plan.Policy) ending { return ending{policy.UID, policy.Deleting()} }

func (c *cleared) forget(policy string) { delete(*c, policy) }

func (c *cleared) note(policy *plan.Policy, at time.Time, left []string) {
	if *c == nil {
		*c = cleared{}
	}
	(*c)[policy.Name] = clearing{ending: endingOf(policy), at: at, left: left}
}

// lastLook asks the API server for remaining objects of a policy after the cache shows
// none, rolls back the objects found, and returns their names. The cache may not show
// recent writes yet, and an overlooked object would stay for good. The API server is asked
// until no object is left, and not again afterwards.
func (r *PolicyReconciler) lastLook(ctx context.Context, policy *plan.Policy, snapshot state.Snapshot) (
	left []string, result reconcile.Result, err error,
) {
	now := r.Clock.Now()
	if before, asked := r.cleared[policy.Name]; asked && before.ending == endingOf(policy) {
		if wait := before.at.Add(cacheLag).Sub(now); len(before.left) == 0 || wait > 0 {
			return before.left, reconcile.Result{RequeueAfter: max(0, wait)}, nil
		}
	}
	over, err := r.writingIsOver(ctx, policy)
	if err != nil || !over {
		return []string{"what was being written when this was declared"}, reconcile.Result{RequeueAfter: writingDelay}, err
	}
	there, left, err := r.leftNow(ctx, policy, snapshot)
	if err != nil {
		return []string{"what the API server has, which could not be asked: " + steady(err).Error()}, reconcile.Result{}, err
	}
	r.cleared.note(policy, now, left)
	result, err = r.tearDown(ctx, policy, there, state.Snapshot{})
	return left, result, err
}

// writingIsOver tells whether all reconciliations have ended that may still write for the
// policy. Reconciliations begun from now on see the end of the policy in the cache;
// reconciliations begun before must have ended.
func (r *PolicyReconciler) writingIsOver(ctx context.Context, policy *plan.Policy) (bool, error) {
	policies, err := r.Observe.ListPolicies(ctx)
	if err != nil {
		return false, err
	}
	compiled := plan.Compile(policies)
	if known := plan.Find(compiled, policy.Name); known != nil && known.UID == policy.UID && known.Claims() {
		return false, nil
	}
	return r.Writing.over(endingOf(policy)), nil
}

// leftNow asks the API server for remaining objects of the policy. there holds the managed
// objects; left holds the names of all remaining objects.
func (r *PolicyReconciler) leftNow(ctx context.Context, policy *plan.Policy, snapshot state.Snapshot) (
	there written, left []string, err error,
) {
	live, err := r.Observe.RefreshSnapshot(ctx, snapshot)
	if err != nil {
		return written{}, nil, err
	}
	if live.NetworkPolicies, err = r.Observe.NetworkPoliciesNow(ctx); err != nil {
		return written{}, nil, err
	}
	nodes, records, err := r.Observe.NodesNow(ctx)
	if err != nil {
		return written{}, nil, err
	}
	services, err := r.Observe.ServicesNow(ctx)
	if err != nil {
		return written{}, nil, fmt.Errorf("looking for what is left: %w", err)
	}
	policies := plan.Compile(live.Policies)
	there = writtenFor(policy, policies, live)
	left = slices.Concat(r.waitedFor(policy, there), r.recordedFor(policy, policies, nodes, records, services))
	if r.awaitsCalico(policy, live.Calico) {
		left = append(left, "objects of Calico, which does not answer now")
	}
	return there, left, nil
}
