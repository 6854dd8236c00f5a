// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/apply"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/verify"
)

// PolicyReconciler keeps the objects of one policy as declared: NetworkPolicies, and
// Calico's objects for the protection of hosts. No other reconciler writes the status of a
// policy.
type PolicyReconciler struct {
	Observe  state.Observer
	Client   client.Client
	Reporter *Reporter
	Stages   *Stages
	// Confirmed tells whether the cache is reliable. Writing tells which reconciliations are
	// writing to nodes and Services.
	Confirmed *Confirmed
	Writing   *Writing
	Repairer

	// apiServers tells which addresses count as API servers. A nil value counts all addresses.
	apiServers *steadyServers
	patience   patience
	turns      turns
	cleared    cleared
	abandoned  abandoned
}

// +kubebuilder:rbac:groups=cpnp.dev,resources=controlplanenetworkpolicies,verbs=list;watch;patch
// +kubebuilder:rbac:groups=cpnp.dev,resources=controlplanenetworkpolicies/status,verbs=patch
// +kubebuilder:rbac:groups=networking.k8s.io,resources=networkpolicies,verbs=list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=events,verbs=create;patch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Reconcile runs all steps of a reconciliation: observe, plan, verify, diff, apply, report.
// A requeue has normal priority, even after an urgent event.
func (r *PolicyReconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	snapshot, err := r.Observe.TakeSnapshot(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	snapshot, again := r.confirm(ctx, snapshot)
	snapshot.Now = r.Clock.Now()
	servers, wait := r.apiServers.of(snapshot.Facts.APIServer, snapshot.Now)
	snapshot.Facts.APIServer = servers
	result, err := r.reconcile(ctx, request.Name, snapshot)
	if err = errors.Join(err, snapshot.ConfirmError); err != nil {
		return reconcile.Result{}, err
	}
	result = sooner(sooner(result, again), reconcile.Result{RequeueAfter: wait})
	result.Priority = ptr.To(0)
	return result, nil
}

func (r *PolicyReconciler) reconcile(ctx context.Context, name string, snapshot state.Snapshot) (reconcile.Result, error) {
	policies := plan.Compile(snapshot.Policies)
	countOnly(policies)
	policy := plan.Find(policies, name)
	if policy == nil {
		r.forget(name)
		r.Writing.keep(policies)
		r.Retries.keep(policies)
		return reconcile.Result{}, r.tellAbandoned(ctx, name, policies, snapshot)
	}
	r.abandoned.forget(name)
	if policy.Deleting() {
		return r.finalize(ctx, policy, policies, snapshot)
	}
	r.patience.forget(policy.Name) // a new policy may have the same name
	if policy.Intent() == plan.IntentRollBack {
		return r.takeBack(ctx, policy, policies, snapshot)
	}
	r.cleared.forget(policy.Name)
	r.releases.forget(policy.Name)
	r.Writing.forget(policy.UID)
	o := assess(policy, policies, snapshot)
	unsettled, soon, rolloutErr := r.rollOut(ctx, &o, snapshot)
	if saysTakenBack(policy) {
		rolloutErr = errors.Join(rolloutErr, r.Reporter.announce(ctx, o))
	}
	written, result, applyErr := r.apply(ctx, o, unsettled)
	o.written = written
	next, err := r.Reporter.report(ctx, o)
	return soonerUnless(errors.Join(rolloutErr, applyErr, err), sooner(soon, result), next)
}

// assess plans the objects of a policy, compares the cluster with the plan, and verifies
// that the difference is safe to write.
func assess(policy *plan.Policy, policies []plan.Policy, snapshot state.Snapshot) Observation {
	o := Observation{
		policy: policy, policies: policies, operator: snapshot.Operator, nodes: snapshot.Nodes, calico: snapshot.Calico,
		unconfirmed: snapshot.Unconfirmed, unasked: snapshot.ConfirmError != nil,
		network: plan.Networks(policy, policies, snapshot),
		hosts:   plan.HostProtection(policy, policies, snapshot),
	}
	o.notes = slices.Concat(o.network.Notes, o.hosts.Notes)
	o.verdict = verify.PolicyWritable(policy, snapshot.Nodes, slices.Concat(o.network.Held, o.hosts.Held), o.notes)
	o.diff = drift.Networks(policy, o.network, snapshot.NetworkPolicies)
	o.hostDiff = drift.Hosts(policy, policies, o.hosts, snapshot.Calico)
	judge(&o, snapshot)
	o.verdict = verify.WithUndecided(o.verdict, o.hosts.Undecided, policy.Override(), o.notes)
	// An earlier version of the operator remembered API servers in Calico's objects. Read the
	// addresses there before removing those objects.
	if policy.Spec.Network != nil && (policy.Status.APIServers != nil || !snapshot.Calico.MayHideObjects()) {
		o.apiServers = plan.APIServers(policy, snapshot)
	}
	return o
}

// apply writes the permitted part of the difference, once the finalizer guarantees the roll
// back. NetworkPolicies come first, because NetworkPolicies wait for nothing. While an
// enactment is unsettled, Calico's objects are not written, except to roll back other
// nodes. While the cache is not confirmed, only roll backs are written, and only if the API
// server could not be asked.
func (r *PolicyReconciler) apply(ctx context.Context, o Observation, unsettled map[string]bool) (
	written repaired, result reconcile.Result, err error,
) {
	writes := slices.Concat(o.diff.Writes, o.diff.Removals)
	enforces := o.policy.Enforces() && o.policy.Invalid == nil && !o.unconfirmed
	may, mayOffHosts := enforces && o.verdict.Holds, enforces && o.verdict.HoldsOffHosts()
	if mayOffHosts {
		part, done := share(ctx, 1+len(writes)+len(o.hostDiff.Writes)+len(o.hostDiff.Removals))
		defer done()
		if held, result, err := r.addFinalizer(part, o.policy); !held {
			return nil, result, err
		}
	}
	written = repaired{}
	result, err = r.writeAll(ctx, o.policy, writes, always(mayOffHosts), written)
	r.differing(o.policy, writes, kindNetworkPolicy)
	back := func(w drift.Write) bool {
		return o.policy.Enforces() && !unsettled[w.Node] && (!o.unconfirmed || o.unasked)
	}
	next, hostErr := r.writeHosts(ctx, o.policy, o.hostDiff, always(may && len(unsettled) == 0), back, written)
	return written, sooner(result, next), errors.Join(err, hostErr)
}

// permission tells whether a write is allowed.
type permission func(drift.Write) bool

func always(may bool) permission { return func(drift.Write) bool { return may } }

// repaired holds the objects repaired in the current reconciliation.
type repaired map[drift.Object]bool

// writeAll writes all objects one after the other. A write that fails or hangs does not
// block the other writes.
func (r *PolicyReconciler) writeAll(ctx context.Context, policy *plan.Policy, writes []drift.Write, may permission, written repaired) (
	result reconcile.Result, err error,
) {
	var failures []error
	for i, w := range writes {
		part, done := share(ctx, len(writes)-i)
		wrote, next, err := r.do(part, r.repairOf(policy, w, may(w)))
		done()
		written[w.Object] = wrote
		result, failures = sooner(result, next), append(failures, err)
	}
	return result, errors.Join(failures...)
}

// differing records that of all objects of the given kinds only the objects of the writes
// differ.
func (r *PolicyReconciler) differing(policy *plan.Policy, writes []drift.Write, kinds ...string) {
	for _, kind := range kinds {
		var objects []drift.Object
		for _, w := range writes {
			objects = append(objects, w.Object)
		}
		r.History.Differing(policy.Name, kind, objects, r.Clock.Now())
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

func (r *PolicyReconciler) repairOf(policy *plan.Policy, w drift.Write, may bool) repair {
	job := repair{
		object: w.Object, version: w.Version(), findings: w.Findings,
		policies: []string{policy.Name}, needed: may && !w.Conflicted(),
		write: func(ctx context.Context) error {
			if w.Desired == nil {
				return apply.DeleteOwned(ctx, r.Client, w.Live)
			}
			return apply.WriteOwned(ctx, r.Client, w.Desired, w.Live)
		},
	}
	if w.Desired == nil && policy.Deleting() && w.Object.Kind == kindNetworkPolicy {
		job.releasing = []owner{ownerOf(policy)}
	}
	return job
}

// addFinalizer adds the finalizer, so that a later deletion of the policy rolls back all
// writes, and tells whether the finalizer is there. Afterwards, policy holds the answer of
// the API server.
func (r *PolicyReconciler) addFinalizer(ctx context.Context, policy *plan.Policy) (bool, reconcile.Result, error) {
	changed := policy.DeepCopy()
	job := repair{
		object: drift.Object{Kind: kindPolicy, Name: policy.Name}, version: policy.ResourceVersion,
		policies: []string{policy.Name}, needed: controllerutil.AddFinalizer(changed, v1alpha1.Finalizer),
		write: func(ctx context.Context) error {
			if err := r.patchMetadata(ctx, policy.ControlPlaneNetworkPolicy, changed); err != nil {
				return err
			}
			policy.ControlPlaneNetworkPolicy = changed
			if !controllerutil.ContainsFinalizer(changed, v1alpha1.Finalizer) {
				return &apply.Incomplete{Left: []string{"the finalizer " + v1alpha1.Finalizer + " is missing"}}
			}
			return nil
		},
	}
	wrote, result, err := r.do(ctx, job)
	return wrote || !job.needed, result, err
}

// patchMetadata writes changed metadata. The API server refuses the patch if the policy has
// changed since.
func (r *PolicyReconciler) patchMetadata(ctx context.Context, policy, changed *v1alpha1.ControlPlaneNetworkPolicy) error {
	patch := client.MergeFromWithOptions(policy, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Patch(ctx, changed, patch, client.FieldOwner(v1alpha1.FieldManagerStatus)); err != nil {
		return fmt.Errorf("writing the finalizer of policy %s: %w", policy.Name, err)
	}
	return nil
}

// forget drops all memory of a policy after the policy is gone.
func (r *PolicyReconciler) forget(policy string) {
	r.History.Forget(policy)
	r.releases.forget(policy)
	r.Stages.forget(policy)
	r.patience.forget(policy)
	r.cleared.forget(policy)
	r.Reporter.forget(policy)
}
