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

// PolicyReconciler keeps the objects that one policy calls for as declared:
// NetworkPolicies, and those of Calico that protect hosts. It is
// the only one that writes a policy's status.
type PolicyReconciler struct {
	Observe  state.Observer
	Client   client.Client
	Reporter *Reporter
	Stages   *Stages
	// Confirmed says whether the cache can be relied on, Writing what is being
	// written to nodes and Services.
	Confirmed *Confirmed
	Writing   *Writing
	Repairer

	// apiServers tells which addresses are those of API servers; nil takes all.
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

// Reconcile observes the cluster, plans, verifies, finds the difference, applies
// it and reports. However urgent that was, what comes next is not.
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
	r.patience.forget(policy.Name) // it may be another one of the name
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

// assess plans what a policy calls for, finds how the cluster differs from it, and
// verifies that it is safe to write.
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
	// What an earlier version remembers in Calico must be read before it is forgotten.
	if policy.Spec.Network != nil && (policy.Status.APIServers != nil || !snapshot.Calico.MayHideObjects()) {
		o.apiServers = plan.APIServers(policy, snapshot)
	}
	return o
}

// apply writes what may be written, once it is sure that it will be taken back:
// NetworkPolicies first, since they do not wait for anything. Nothing of Calico is
// written while the record of a node is not settled, but for what takes others
// back. Nothing else is either where it is not sure that the cache shows what is on
// record.
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

// permission says whether a write may be made.
type permission func(drift.Write) bool

func always(may bool) permission { return func(drift.Write) bool { return may } }

// repaired are the objects that have just been put right.
type repaired map[drift.Object]bool

// writeAll writes one after the other. One that fails, or hangs, does not keep
// the others from being written.
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

// differing notes that of all objects of these kinds only those of the writes
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

// share returns a context with an equal part of the time that is left, where so
// many requests are to come and a report after them.
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

// addFinalizer makes sure that what is going to be written will be taken back,
// and says whether that is so. The policy is then as the API server answered it.
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

// patchMetadata writes the difference, refused if the policy has changed since.
func (r *PolicyReconciler) patchMetadata(ctx context.Context, policy, changed *v1alpha1.ControlPlaneNetworkPolicy) error {
	patch := client.MergeFromWithOptions(policy, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Patch(ctx, changed, patch, client.FieldOwner(v1alpha1.FieldManagerStatus)); err != nil {
		return fmt.Errorf("writing the finalizer of policy %s: %w", policy.Name, err)
	}
	return nil
}

// forget drops what is remembered of a policy that is gone.
func (r *PolicyReconciler) forget(policy string) {
	r.History.Forget(policy)
	r.releases.forget(policy)
	r.Stages.forget(policy)
	r.patience.forget(policy)
	r.cleared.forget(policy)
	r.Reporter.forget(policy)
}
