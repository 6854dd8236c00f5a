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

// writingDelay is how soon to see again whether what was being written is.
const writingDelay = 100 * time.Millisecond

// cleared remembers by policy what the API server had of it when it was last asked. The
// zero value is ready; it is for the one worker of policies.
type cleared map[string]clearing

type clearing struct {
	ending
	at   time.Time
	left []string
}

// ending is why a policy is rolled back: it is deleted, or somebody says so.
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

// lastLook asks the API server itself what is left of a policy of which the cache shows
// nothing any more, rolls back what there is, and returns it: a watch may be behind what
// was written just before, and what is overlooked now stays for good. It is asked until
// there is nothing, and not again then.
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

// writingIsOver says whether nothing is written for the policy any more by whoever may
// not know yet that it is not to be: the cache tells all who begin from now on, and those
// have ended that began before.
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

// leftNow returns what the API server has of the policy now: what is the operator's own,
// and the names of that and of all else.
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
