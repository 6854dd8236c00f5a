// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
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

// finalize releases a policy in deletion. Under Revert, finalize deletes the policy's
// NetworkPolicies and Calico's objects, while the reconcilers of nodes and Services restore
// their objects. The finalizer is removed after the API server has no object of the policy
// any more. Under Orphan, tried rules stay.
func (r *PolicyReconciler) finalize(ctx context.Context, policy *plan.Policy, policies []plan.Policy, snapshot state.Snapshot) (
	reconcile.Result, error,
) {
	if !controllerutil.ContainsFinalizer(policy.ControlPlaneNetworkPolicy, v1alpha1.Finalizer) {
		return reconcile.Result{}, nil
	}
	if policy.RollsBack() {
		remaining, result, err := r.revert(ctx, policy, policies, snapshot)
		if len(remaining) > 0 || err != nil {
			return result, err
		}
	} else if done, result, err := r.leaveBehind(ctx, policy, policies, snapshot); !done {
		next, reportErr := r.reportLeft(ctx, policy, policies, snapshot, untried(policy, snapshot))
		return soonerUnless(errors.Join(err, reportErr), result, next)
	}
	// The garbage collector would delete the enactments with the policy, but perhaps only after
	// a new policy of the same name exists.
	stay, result, err := r.forgetNodes(ctx, policy, left(policy.Name, nil, snapshot.Enactments))
	gone := false
	if len(stay) == 0 {
		gone, result, err = r.removeFinalizer(ctx, policy)
	}
	if len(stay) > 0 || err != nil {
		next, reportErr := r.reportLeft(ctx, policy, policies, snapshot, stay)
		return soonerUnless(errors.Join(err, reportErr), result, next)
	}
	r.Reporter.tellReleases(policy)
	if gone && policy.RollsBack() && unread(policy, snapshot.Calico) {
		r.Reporter.event(policy, report.CalicoObjectsLeft(policy.Name))
	}
	return result, nil
}

// removeFinalizer removes the finalizer, and tells whether the policy is gone by the
// current write.
func (r *PolicyReconciler) removeFinalizer(ctx context.Context, policy *plan.Policy) (gone bool, result reconcile.Result, err error) {
	changed := policy.DeepCopy()
	controllerutil.RemoveFinalizer(changed, v1alpha1.Finalizer)
	wrote, result, err := r.do(ctx, repair{
		object: drift.Object{Kind: kindPolicy, Name: policy.Name}, version: policy.ResourceVersion,
		policies: []string{policy.Name}, needed: true,
		write: func(ctx context.Context) error {
			return client.IgnoreNotFound(r.patchMetadata(ctx, policy.ControlPlaneNetworkPolicy, changed))
		},
	})
	return wrote && result.IsZero(), result, err // otherwise an earlier write is not in the cache yet
}

// reportLeft reports the remaining objects of a policy in deletion.
func (r *PolicyReconciler) reportLeft(
	ctx context.Context, policy *plan.Policy, policies []plan.Policy, snapshot state.Snapshot, left []string,
) (reconcile.Result, error) {
	return r.Reporter.report(ctx, Observation{
		policy: policy, policies: policies, nodes: snapshot.Nodes, calico: snapshot.Calico, remaining: left, verdict: beingRolledBack,
	})
}

// beingRolledBack is the verdict on a policy in roll back: no new restriction is written.
var beingRolledBack = verify.Verdict{Holds: true, Reason: v1alpha1.ReasonVerified, Message: "What was written is being rolled back"}

// takeBack rolls back a policy with the annotation cpnp.dev/revert, whatever the policy's
// mode. The steps are those of a deletion under Revert, but the policy stays.
func (r *PolicyReconciler) takeBack(ctx context.Context, policy *plan.Policy, policies []plan.Policy, snapshot state.Snapshot) (
	reconcile.Result, error,
) {
	_, result, err := r.revert(ctx, policy, policies, snapshot)
	return result, err
}

// revert rolls back the objects of a policy, reports, and returns the names of the
// remaining objects. The reconcilers of nodes and Services restore taints and traffic
// policies.
func (r *PolicyReconciler) revert(ctx context.Context, policy *plan.Policy, policies []plan.Policy, snapshot state.Snapshot) (
	remaining []string, result reconcile.Result, err error,
) {
	o := Observation{
		policy: policy, policies: policies, nodes: snapshot.Nodes, calico: snapshot.Calico, verdict: beingRolledBack,
	}
	there := writtenFor(policy, policies, snapshot)
	if o.remaining = r.waitedFor(policy, there); policy.Intent() == plan.IntentRollBack && !saysTakenBack(policy) {
		err = r.Reporter.announce(ctx, o) // in an emergency, users want a prompt answer
	}
	result, tearErr := r.tearDown(ctx, policy, there, snapshot)
	next, recordErr := r.recordTakenBack(ctx, &o, snapshot)
	result, err = sooner(result, next), errors.Join(err, tearErr, recordErr)
	left, leftErr := r.remaining(ctx, policy, policies, snapshot, there)
	if leftErr != nil {
		return nil, reconcile.Result{}, errors.Join(err, leftErr)
	}
	if len(left) == 0 {
		left, next, leftErr = r.lastLook(ctx, policy, snapshot)
		result, err = sooner(result, next), errors.Join(err, leftErr)
	}
	if o.remaining = left; len(left) == 0 && policy.Intent() != plan.IntentRollBack {
		return nil, result, err // the policy is about to go: skip the status
	}
	next, reportErr := r.Reporter.report(ctx, o)
	if len(left) > 0 { // the end of a wait may come without an event
		result = sooner(result, reconcile.Result{RequeueAfter: lookAgain})
	}
	result, err = soonerUnless(errors.Join(err, reportErr), result, next)
	return left, result, err
}

// saysTakenBack tells whether the status already reports the roll back by the annotation
// cpnp.dev/revert.
func saysTakenBack(policy *plan.Policy) bool {
	ready := meta.FindStatusCondition(policy.Status.Conditions, v1alpha1.ConditionReady)
	return ready != nil && ready.Reason == v1alpha1.ReasonTakenBack
}

// written holds the managed objects of a policy.
type written struct {
	networkPolicies []drift.Write // writes that delete the NetworkPolicies
	hosts           drift.Diff    // writes that roll back Calico's objects
}

func writtenFor(policy *plan.Policy, policies []plan.Policy, there state.Snapshot) written {
	return written{
		networkPolicies: slices.DeleteFunc(drift.Networks(policy, plan.Network{}, there.NetworkPolicies).Removals, isBeingDeleted),
		hosts:           drift.Hosts(policy, policies, plan.Hosts{}, there.Calico),
	}
}

// isBeingDeleted tells whether an object is already deleted and only kept by a foreign
// finalizer. Such an object is not waited for: anybody could set a finalizer and block the
// deletion of a policy for ever.
func isBeingDeleted(w drift.Write) bool {
	return w.Live != nil && w.Live.GetDeletionTimestamp() != nil
}

// waitedFor returns the names of the objects to remove before the policy may go.
// NetworkPolicies are abandoned if the API server refuses the deletion; hosts must be
// rolled back.
func (r *PolicyReconciler) waitedFor(policy *plan.Policy, there written) []string {
	ours := slices.DeleteFunc(slices.Clone(there.networkPolicies), func(w drift.Write) bool {
		return r.Retries.abandoned(w.Object, policy.UID)
	})
	return namesOf(slices.Concat(ours, there.hosts.Removals))
}

func namesOf(writes []drift.Write) []string {
	var names []string
	for _, w := range writes {
		names = append(names, w.Object.String())
	}
	return names
}

// tearDown deletes managed objects, in the order of the stages. If the cache may not show
// all host endpoints, rules needed by host endpoints stay. If the API server could not be
// asked, host endpoints are deleted nevertheless.
func (r *PolicyReconciler) tearDown(ctx context.Context, policy *plan.Policy, there written, snapshot state.Snapshot) (
	reconcile.Result, error,
) {
	done := repaired{}
	result, err := r.writeAll(ctx, policy, there.networkPolicies, always(policy.RollsBack()), done)
	may := always(policy.RollsBack() && !snapshot.Unconfirmed)
	next, hostErr := r.writeHosts(ctx, policy, there.hosts, may, always(policy.RollsBack()), done)
	return sooner(result, next), errors.Join(err, hostErr)
}

// recordTakenBack records in the enactments that no node has rules any more, so that no
// node gets the rules again without a new rollout.
func (r *PolicyReconciler) recordTakenBack(ctx context.Context, o *Observation, snapshot state.Snapshot) (reconcile.Result, error) {
	if o.policy.Intent() != plan.IntentRollBack {
		return reconcile.Result{}, nil
	}
	in := r.onRecord(o.policy, snapshot.Enactments)
	in.RollBackReason = o.policy.RollBackReason()
	o.rollout = rollout.Decide(in)
	on, result, err := r.record(ctx, o.policy, o.rollout.Enactments, snapshot)
	o.rollout.Enactments = on.enactments
	return result, err
}

// calicoPatience is how long a policy in deletion waits for an unresponsive Calico.
// Afterwards the policy goes: a missing Calico never blocks a deletion for ever.
const calicoPatience = time.Minute

// patience remembers since when each policy in deletion has waited for Calico. A restart of
// the operator restarts the wait, because a new operator must first find out what exists.
// The zero value is ready to use. patience is safe for concurrent use.
type patience struct {
	mu    sync.Mutex
	since map[string]time.Time
}

// waits tells whether the policy has to wait longer.
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

// forget ends the wait, because Calico answers or the policy is gone.
func (p *patience) forget(policy string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.since, policy)
}

// unread tells whether Calico's objects cannot be rolled back at present.
func unread(policy *plan.Policy, there state.Calico) bool {
	return there.MayHideObjects() && wroteHosts(policy, there)
}

// wroteHosts tells whether Calico has objects of the policy, as far as known.
func wroteHosts(policy *plan.Policy, there state.Calico) bool {
	count := policy.Status.HostPolicies.Declared
	return count != nil && *count > 0 || drift.WroteHosts(policy.Name, there)
}

// awaitsCalico tells whether the policy waits until Calico's objects can be rolled back. A
// first read of Calico in progress is always waited for.
func (r *PolicyReconciler) awaitsCalico(policy *plan.Policy, there state.Calico) bool {
	if !unread(policy, there) || there.Settling {
		r.patience.forget(policy.Name)
		return there.Settling && unread(policy, there)
	}
	return !policy.Deleting() || r.patience.waits(policy.Name, r.Clock.Now())
}

// remaining returns the names of the objects not yet restored or deleted for the policy,
// according to the cache.
func (r *PolicyReconciler) remaining(
	ctx context.Context, policy *plan.Policy, policies []plan.Policy, snapshot state.Snapshot, there written,
) ([]string, error) {
	left := r.waitedFor(policy, there)
	if r.awaitsCalico(policy, snapshot.Calico) {
		left = append(left, "objects of Calico, which does not answer now")
	}
	records, err := r.Observe.ListNodeRecords(ctx)
	if err != nil {
		return nil, err
	}
	services, err := r.Observe.ListServices(ctx, nil)
	if err != nil {
		return nil, err
	}
	return append(left, r.recordedFor(policy, policies, snapshot.Nodes, records, services)...), nil
}

// recordedFor returns the nodes and Services that still have a field from the policy,
// without abandoned nodes and Services.
func (r *PolicyReconciler) recordedFor(
	policy *plan.Policy, policies []plan.Policy, nodes []corev1.Node, records state.NodeRecords, services []state.Service,
) []string {
	var left []string
	for i := range nodes {
		node := &nodes[i]
		object := drift.Object{Kind: "Node", Name: node.Name}
		if drift.Move(node, records.OfNode(node).Record, policies).MentionsPolicy(policy.Name) && !r.Retries.abandoned(object, policy.UID) {
			left = append(left, object.String())
		}
	}
	for _, service := range services {
		if shared := remembering(r.History, drift.Service(service.Service), service.UID); shared.Mentions(policy.Name) &&
			!r.Retries.abandoned(shared.Object, policy.UID) && !r.releases.has(policy.Name, shared.Object) {
			left = append(left, shared.Object.String())
		}
	}
	return left
}
