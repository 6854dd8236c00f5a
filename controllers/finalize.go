// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/report"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/verify"
)

// settleTime is how long after its deletion a policy is kept at least: a write
// that was under way at that moment must have reached the cache, or it would
// not be taken back.
const settleTime = 2 * time.Second

// finalize lets go of a policy that is being deleted. Under Revert its
// NetworkPolicies are deleted here, while the reconcilers of nodes and Services
// restore theirs; when nothing of it is left, the finalizer goes. Under Orphan what
// was tried stays.
func (r *PolicyReconciler) finalize(ctx context.Context, policy *plan.Policy, policies []plan.Policy, snapshot state.Snapshot) (
	reconcile.Result, error,
) {
	if !controllerutil.ContainsFinalizer(policy.ControlPlaneNetworkPolicy, v1alpha1.Finalizer) {
		return reconcile.Result{}, nil
	}
	if policy.Reverts() {
		remaining, result, err := r.revert(ctx, policy, policies, snapshot)
		if len(remaining) > 0 || err != nil {
			return result, err
		}
		if left := policy.DeletionTimestamp.Add(settleTime).Sub(r.Clock.Now()); left > 0 {
			return reconcile.Result{RequeueAfter: left}, nil
		}
	} else if done, result, err := r.leaveBehind(ctx, policy, policies, snapshot); !done {
		return result, err
	}
	r.Reporter.tellReleases(policy)
	// They would be collected with the policy, but not before another one of the
	// same name can be there.
	if err := r.forgetNodes(ctx, left(policy.Name, nil, snapshot.Enactments)); err != nil {
		return reconcile.Result{}, err
	}
	changed := policy.DeepCopy()
	controllerutil.RemoveFinalizer(changed, v1alpha1.Finalizer)
	err := client.IgnoreNotFound(r.patchMetadata(ctx, policy.ControlPlaneNetworkPolicy, changed))
	if apierrors.IsConflict(err) {
		return reconcile.Result{RequeueAfter: conflictDelay}, nil
	}
	if err == nil && policy.Reverts() && unread(policy, snapshot.Calico) {
		r.Reporter.event(policy, report.LeftBehind(policy.Name))
	}
	return reconcile.Result{}, err
}

// takeBack lets go of a policy that somebody wants out of the way at once: as for
// one that is deleted under Revert, whatever its mode, but it stays.
func (r *PolicyReconciler) takeBack(ctx context.Context, policy *plan.Policy, policies []plan.Policy, snapshot state.Snapshot) (
	reconcile.Result, error,
) {
	_, result, err := r.revert(ctx, policy, policies, snapshot)
	return result, err
}

// revert takes back what was written for the policy, reports, and returns what
// is left of it. What is written on nodes and Services, their reconcilers take
// back.
func (r *PolicyReconciler) revert(ctx context.Context, policy *plan.Policy, policies []plan.Policy, snapshot state.Snapshot) (
	remaining []string, result reconcile.Result, err error,
) {
	o := Observation{
		policy: policy, policies: policies, nodes: snapshot.Nodes, calico: snapshot.Calico,
		verdict: verify.Verdict{Holds: true, Reason: v1alpha1.ReasonVerified, Message: "What was written is being taken back"},
	}
	deletes := drift.Networks(policy, plan.Network{}, snapshot.NetworkPolicies).Removals
	hosts := drift.Hosts(policy, policies, plan.Hosts{}, snapshot.Calico)
	done := repaired{}
	may := always(policy.Reverts())
	opens := func(w drift.Write) bool { return policy.Reverts() && takesBack(w, plan.Hosts{}, nil) != "" }
	result, err = r.writeAll(ctx, policy, deletes, may, done)
	next, hostErr := r.writeHosts(ctx, policy, hosts, may, opens, done)
	result, err = sooner(result, next), errors.Join(err, hostErr, r.recordTakenBack(ctx, &o, snapshot))
	left, leftErr := r.remaining(ctx, policy, policies, snapshot, slices.Concat(deletes, hosts.Removals))
	if o.remaining = left; leftErr != nil {
		return nil, reconcile.Result{}, errors.Join(err, leftErr)
	}
	if len(left) == 0 && policy.TakenBack() == "" {
		return nil, result, err // it goes, and nobody reads its status any more
	}
	next, reportErr := r.Reporter.report(ctx, o)
	if len(left) > 0 { // nothing may tell of the end of a wait
		result = sooner(result, reconcile.Result{RequeueAfter: settleTime})
	}
	result, err = soonerUnless(errors.Join(err, reportErr), result, next)
	return left, result, err
}

// recordTakenBack puts on record that no node has rules any more, so that they do
// not come back by themselves.
func (r *PolicyReconciler) recordTakenBack(ctx context.Context, o *Observation, snapshot state.Snapshot) error {
	if o.policy.TakenBack() == "" {
		return nil
	}
	in := r.recorded(o.policy, snapshot.Enactments)
	in.TakeBack = o.policy.TakenBack()
	o.rollout = rollout.Decide(in)
	_, err := r.record(ctx, o.policy, o.rollout.Enactments, snapshot.Enactments)
	if apierrors.IsConflict(err) {
		return nil // the cache is behind; what it will show comes as an event
	}
	return err
}

// calicoPatience is how long a policy that is being deleted waits for a Calico that
// does not answer. After that it goes: a missing Calico never holds it for ever.
const calicoPatience = time.Minute

// patience remembers since when each policy that is being deleted has waited for
// Calico. It begins anew with the operator, which has to find out first what there
// is. The zero value is ready; it is safe for concurrent use.
type patience struct {
	mu    sync.Mutex
	since map[string]time.Time
}

// waits says whether the policy goes on waiting.
func (p *patience) waits(policy string, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	since, waiting := p.since[policy]
	if !waiting {
		if p.since == nil {
			p.since = map[string]time.Time{}
		}
		since = now
		p.since[policy] = now
	}
	return now.Before(since.Add(calicoPatience))
}

// forget ends the wait: Calico answers, or the policy is gone.
func (p *patience) forget(policy string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.since, policy)
}

// unread says whether objects of Calico can not be taken back at present.
func unread(policy *plan.Policy, there state.Calico) bool {
	return there.Hidden() && wroteHosts(policy, there)
}

// wroteHosts says whether there are objects of Calico that were written for the
// policy, as far as that is known.
func wroteHosts(policy *plan.Policy, there state.Calico) bool {
	count := policy.Status.HostPolicies.Declared
	return count != nil && *count > 0 || drift.WroteHosts(policy.Name, there)
}

// awaitsCalico says whether the policy waits until objects of Calico can be taken
// back. What has not been read yet is always waited for.
func (r *PolicyReconciler) awaitsCalico(policy *plan.Policy, there state.Calico) bool {
	if !unread(policy, there) || there.Settling {
		r.patience.forget(policy.Name)
		return there.Settling && unread(policy, there)
	}
	return !policy.Deleting() || r.patience.waits(policy.Name, r.Clock.Now())
}

// remaining returns what the policy wrote and what has not been restored yet.
func (r *PolicyReconciler) remaining(
	ctx context.Context, policy *plan.Policy, policies []plan.Policy, snapshot state.Snapshot, deletes []drift.Write,
) ([]string, error) {
	var left []string
	for _, w := range deletes {
		left = append(left, w.Object.String())
	}
	if r.awaitsCalico(policy, snapshot.Calico) {
		left = append(left, "objects of Calico, which does not answer now")
	}
	records, err := r.Observe.NodeRecords(ctx)
	if err != nil {
		return nil, err
	}
	for i := range snapshot.Nodes {
		node := &snapshot.Nodes[i]
		object := drift.Object{Kind: "Node", Name: node.Name}
		if drift.Move(node, records.Of(node).Record, policies).Mentions(policy.Name) && !r.Retries.abandoned(object) {
			left = append(left, object.String())
		}
	}
	services, err := r.Observe.Services(ctx, nil)
	if err != nil {
		return nil, err
	}
	for _, service := range services {
		if shared := drift.Service(service.Service); shared.Record.Mentions(policy.Name) && !r.Retries.abandoned(shared.Object) {
			left = append(left, shared.Object.String())
		}
	}
	return left, nil
}
