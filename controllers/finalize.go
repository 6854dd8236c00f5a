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

// finalize lets go of a policy that is being deleted. Under Revert its
// NetworkPolicies are deleted here, while the reconcilers of nodes and Services
// restore theirs; when the API server has nothing of it any more, the finalizer goes.
// Under Orphan what was tried stays.
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
	// They would be collected with the policy, but not before another one of the
	// same name can be there.
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

// removeFinalizer lets the policy go, and says whether it does.
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
	return wrote && result.IsZero(), result, err // and not a moment ago
}

// reportLeft reports of a policy that is being deleted what keeps it.
func (r *PolicyReconciler) reportLeft(
	ctx context.Context, policy *plan.Policy, policies []plan.Policy, snapshot state.Snapshot, left []string,
) (reconcile.Result, error) {
	return r.Reporter.report(ctx, Observation{
		policy: policy, policies: policies, nodes: snapshot.Nodes, calico: snapshot.Calico, remaining: left, verdict: beingReverted,
	})
}

// beingReverted is the verdict on a policy for which nothing is written any more.
var beingReverted = verify.Verdict{Holds: true, Reason: v1alpha1.ReasonVerified, Message: "What was written is being taken back"}

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
		policy: policy, policies: policies, nodes: snapshot.Nodes, calico: snapshot.Calico, verdict: beingReverted,
	}
	there := writtenFor(policy, policies, snapshot)
	if o.remaining = r.waitedFor(policy, there); policy.Intent() == plan.IntentRollBack && !saysTakenBack(policy) {
		err = r.Reporter.announce(ctx, o) // it is an emergency: somebody wants to know that it was heard
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
		return nil, result, err // it goes, and nobody reads its status any more
	}
	next, reportErr := r.Reporter.report(ctx, o)
	if len(left) > 0 { // nothing may tell of the end of a wait
		result = sooner(result, reconcile.Result{RequeueAfter: lookAgain})
	}
	result, err = soonerUnless(errors.Join(err, reportErr), result, next)
	return left, result, err
}

// saysTakenBack says whether the status tells that the policy is rolled back by the
// annotation cpnp.dev/revert.
func saysTakenBack(policy *plan.Policy) bool {
	ready := meta.FindStatusCondition(policy.Status.Conditions, v1alpha1.ConditionReady)
	return ready != nil && ready.Reason == v1alpha1.ReasonTakenBack
}

// written are objects of the operator's own that were written for a policy.
type written struct {
	networkPolicies []drift.Write // what deletes them
	hosts           drift.Diff    // what takes them back
}

func writtenFor(policy *plan.Policy, policies []plan.Policy, there state.Snapshot) written {
	return written{
		networkPolicies: slices.DeleteFunc(drift.Networks(policy, plan.Network{}, there.NetworkPolicies).Removals, isBeingDeleted),
		hosts:           drift.Hosts(policy, policies, plan.Hosts{}, there.Calico),
	}
}

// isBeingDeleted says whether an object is only kept by a finalizer, which is none of the
// operator's: somebody may set one, and no policy would ever be gone.
func isBeingDeleted(w drift.Write) bool {
	return w.Live != nil && w.Live.GetDeletionTimestamp() != nil
}

// waitedFor returns the names of what has to go before the policy may. NetworkPolicies
// that the API server does not let go are given up; hosts have to be rolled back.
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

// tearDown deletes the operator's own objects, in their order. Where it is not sure
// that the cache shows all endpoints, the rules that these need stay; and where the API
// server could not be asked, the endpoints go all the same.
func (r *PolicyReconciler) tearDown(ctx context.Context, policy *plan.Policy, there written, snapshot state.Snapshot) (
	reconcile.Result, error,
) {
	done := repaired{}
	result, err := r.writeAll(ctx, policy, there.networkPolicies, always(policy.RollsBack()), done)
	may := always(policy.RollsBack() && !snapshot.Unconfirmed)
	next, hostErr := r.writeHosts(ctx, policy, there.hosts, may, always(policy.RollsBack()), done)
	return sooner(result, next), errors.Join(err, hostErr)
}

// recordTakenBack puts on record that no node has rules any more, so that they do
// not come back by themselves.
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
	return there.MayHideObjects() && wroteHosts(policy, there)
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

// remaining returns what the policy wrote and what has not been restored yet, as far as
// the cache shows it.
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

// recordedFor returns the nodes and Services that still carry something of the policy,
// and are not given up.
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
