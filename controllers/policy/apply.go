// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"context"
	"errors"
	"slices"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cpnp-dev/cpnp-operator/internal/apply"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/intent"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/repair"
	"github.com/cpnp-dev/cpnp-operator/internal/schedule"
)

// apply writes the permitted part of the difference, once the finalizer guarantees the
// rollback. NetworkPolicies come first, because NetworkPolicies wait for nothing.
func (r *Reconciler) apply(ctx context.Context, o *Observation) (result reconcile.Result, err error) {
	may, writes := permissionsOf(*o), slices.Concat(o.diff.Writes, o.diff.Removals)
	if may.networkPolicies && o.policy.Enforces() {
		part, done := share(ctx, 1+len(writes)+len(o.hostDiff.Writes)+len(o.hostDiff.Removals))
		defer done()
		if held, result, err := r.addFinalizer(part, o.policy); !held {
			return result, err
		}
	}
	o.written = repaired{}
	result, err = r.writeAll(ctx, o.policy, writes, always(may.networkPolicies), o.written)
	r.differing(o.policy, writes, drift.KindNetworkPolicy)
	next, hostErr := r.writeHosts(ctx, o.policy, o.hostDiff, always(may.hosts), may.rollBacks, o.written)
	return schedule.Sooner(result, next), errors.Join(err, hostErr)
}

// permissions are the writes that a policy may make now.
type permissions struct {
	networkPolicies bool
	// hosts are the writes to Calico that wait for their stage.
	hosts bool
	// rollBacks are the writes to Calico that only roll back nodes.
	rollBacks permission
}

// permissionsOf returns the permitted writes of a policy. Nothing is written for a node
// whose record differs from the decision: no node is started or rolled back without a
// record, so that a later operator knows every step. While the cache is not confirmed, only
// rollbacks are written, and only if the API server could not be asked.
//
// The rollback of a whole policy waits for no record. While the cache may not show all host
// endpoints, the rules that host endpoints need stay.
func permissionsOf(o Observation) permissions {
	recorded := func(w drift.Write) bool { return !o.unsettled[w.Node] }
	switch o.policy.Intent() {
	case intent.RollBack, intent.Delete:
		return permissions{networkPolicies: true, hosts: !o.unconfirmed, rollBacks: always(true)}
	case intent.Enforce:
		enforces := o.policy.Invalid == nil && !o.unconfirmed
		may := permissions{
			networkPolicies: enforces && o.verdict.HoldsOffHosts(),
			hosts:           enforces && o.verdict.Holds && len(o.unsettled) == 0,
			rollBacks:       always(false),
		}
		if !o.unconfirmed || o.unasked {
			may.rollBacks = recorded
		}
		return may
	case intent.Orphan:
		if !o.policy.Spec.Suspend && !o.unconfirmed {
			return permissions{rollBacks: recorded}
		}
	}
	return permissions{rollBacks: always(false)}
}

// permission tells whether a write is allowed.
type permission func(drift.Write) bool

func always(may bool) permission { return func(drift.Write) bool { return may } }

// repaired holds the objects repaired in the current reconciliation.
type repaired map[drift.Object]bool

// writeAll writes all objects one after the other. A write that fails or hangs does not
// block the other writes.
func (r *Reconciler) writeAll(ctx context.Context, policy *plan.Policy, writes []drift.Write, may permission, written repaired) (
	result reconcile.Result, err error,
) {
	var failures []error
	for i, w := range writes {
		part, done := share(ctx, len(writes)-i)
		wrote, next, err := r.Do(part, r.repairOf(policy, w, may(w)))
		done()
		written[w.Object] = wrote
		result, failures = schedule.Sooner(result, next), append(failures, err)
	}
	return result, errors.Join(failures...)
}

// differing records that of all objects of the given kinds only the objects of the writes
// differ.
func (r *Reconciler) differing(policy *plan.Policy, writes []drift.Write, kinds ...string) {
	for _, kind := range kinds {
		var objects []drift.Object
		for _, w := range writes {
			objects = append(objects, w.Object)
		}
		r.History.SettleOthers(policy.Name, kind, objects, r.Clock.Now())
	}
}

// share returns a context with an equal part of the remaining time: requests is the number
// of requests still to come, and the report needs a part as well.
func share(ctx context.Context, requests int) (context.Context, context.CancelFunc) {
	deadline, limited := ctx.Deadline()
	if !limited {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Until(deadline)/time.Duration(requests+1))
}

func (r *Reconciler) repairOf(policy *plan.Policy, w drift.Write, may bool) repair.Job {
	job := repair.Job{
		Object: w.Object, Version: w.LiveVersion(), Findings: w.Findings,
		Policies: []string{policy.Name}, Needed: may && !w.IsConflicted(),
		Write: func(ctx context.Context) error {
			if w.Desired == nil {
				return apply.DeleteOwned(ctx, r.Client, w.Live)
			}
			return apply.WriteOwned(ctx, r.Client, w.Desired, w.Live)
		},
	}
	if w.Desired == nil && policy.Deleting() && w.Object.Kind == drift.KindNetworkPolicy {
		job.Releasing = []repair.Owner{repair.OwnerOf(policy)}
	}
	return job
}
