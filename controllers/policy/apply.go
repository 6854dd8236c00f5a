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
	"github.com/cpnp-dev/cpnp-operator/internal/pipeline"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/repair"
	"github.com/cpnp-dev/cpnp-operator/internal/schedule"
)

// apply writes the permitted part of the difference, once the finalizer guarantees the
// rollback. NetworkPolicies come first, because NetworkPolicies wait for nothing.
func (r *Reconciler) apply(ctx context.Context, a *pipeline.Assessment) (result reconcile.Result, err error) {
	may, writes := a.Permissions(), slices.Concat(a.Diff.Writes, a.Diff.Removals)
	if may.NetworkPolicies && a.Policy.Enforces() {
		part, done := share(ctx, 1+len(writes)+len(a.HostDiff.Writes)+len(a.HostDiff.Removals))
		defer done()
		if held, result, err := r.addFinalizer(part, a.Policy); !held {
			return result, err
		}
	}
	a.Written = pipeline.Written{}
	result, err = r.writeAll(ctx, a.Policy, writes, pipeline.Always(may.NetworkPolicies), a.Written)
	r.differing(a.Policy, writes, drift.KindNetworkPolicy)
	next, hostErr := r.writeHosts(ctx, a.Policy, a.HostDiff, pipeline.Always(may.Hosts), may.RollBacks, a.Written)
	return schedule.Sooner(result, next), errors.Join(err, hostErr)
}

// writeAll writes all objects one after the other. A write that fails or hangs does not
// block the other writes.
func (r *Reconciler) writeAll(
	ctx context.Context, policy *plan.Policy, writes []drift.Write, may pipeline.Permission, written pipeline.Written,
) (result reconcile.Result, err error) {
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
