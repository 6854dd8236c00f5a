// SPDX-License-Identifier: Apache-2.0

// Package policy has the reconciler of policies: it runs the pipeline from the observation
// of the cluster to the report, and is the only writer of a policy's status.
package policy

import (
	"context"
	"errors"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/freshness"
	"github.com/cpnp-dev/cpnp-operator/internal/metrics"
	"github.com/cpnp-dev/cpnp-operator/internal/pipeline"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/repair"
	"github.com/cpnp-dev/cpnp-operator/internal/reporter"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
	"github.com/cpnp-dev/cpnp-operator/internal/schedule"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// Reconciler keeps the objects of one policy as declared: NetworkPolicies, and
// Calico's objects for the protection of hosts. No other reconciler writes the status of a
// policy.
type Reconciler struct {
	Observe  state.Observer
	Client   client.Client
	Reporter *reporter.Reporter
	// Assessor and Rollouts are the steps that write nothing.
	Assessor pipeline.Assessor
	Rollouts pipeline.Rollouts
	// Confirmed tells whether the cache is reliable. Writing tells which reconciliations are
	// writing to nodes and Services.
	Confirmed *freshness.Confirmed
	Writing   *repair.Writing
	repair.Repairer

	// apiServers tells which addresses count as API servers. A nil value counts all addresses.
	APIServers *schedule.SteadyServers
	// patience is since when each policy in deletion has waited for Calico.
	patience  schedule.Timers[string]
	cleared   cleared
	abandoned abandoned
	compiler  plan.Compiler
}

// +kubebuilder:rbac:groups=cpnp.dev,resources=controlplanenetworkpolicies,verbs=list;watch;patch
// +kubebuilder:rbac:groups=cpnp.dev,resources=controlplanenetworkpolicies/status,verbs=patch
// +kubebuilder:rbac:groups=networking.k8s.io,resources=networkpolicies,verbs=list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=events,verbs=create;patch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Reconcile observes the cluster, and runs the other steps on the snapshot. A requeue has
// normal priority, even after an urgent event.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	snapshot, err := r.Observe.TakeSnapshot(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	snapshot, again := r.confirm(ctx, snapshot)
	snapshot.Now = r.Clock.Now()
	servers, wait := r.APIServers.Steady(snapshot.Facts.APIServer, snapshot.Now)
	snapshot.Facts.APIServer = servers
	result, err := r.reconcile(ctx, request.Name, snapshot)
	if err = errors.Join(err, snapshot.ConfirmError); err != nil {
		return reconcile.Result{}, err
	}
	result = schedule.Sooner(schedule.Sooner(result, again), reconcile.Result{RequeueAfter: wait})
	result.Priority = ptr.To(0)
	return result, nil
}

// reconcile runs the pipeline: plan, diff, verify, rollout, apply, report. Each step takes
// the results of the steps before, and acts by the intent of the policy.
func (r *Reconciler) reconcile(ctx context.Context, name string, snapshot state.Snapshot) (reconcile.Result, error) {
	policies := r.compiler.Compile(snapshot.Policies)
	repair.CountOnly(policies)
	policy := plan.FindPolicy(policies, name)
	if policy == nil {
		return reconcile.Result{}, r.forgetPolicy(ctx, name, policies, snapshot)
	}
	r.forgetOtherIntents(policy)
	if policy.Deleting() && !controllerutil.ContainsFinalizer(policy.ControlPlaneNetworkPolicy, v1alpha1.Finalizer) {
		return reconcile.Result{}, nil // nothing was written for the policy
	}
	var done outcome
	started := r.Clock.Now()
	a := r.Assessor.Assess(policy, policies, snapshot)
	metrics.ObserveVerification(r.Clock.Since(started))
	done.add(reconcile.Result{RequeueAfter: r.Rollouts.Decide(&a, r.Clock.Now())}, nil)
	done.add(reconcile.Result{}, r.announce(ctx, a))
	done.add(r.apply(ctx, &a))
	done.add(r.recordRollout(ctx, &a))
	done.add(r.findRemaining(ctx, &a))
	if policy.Deleting() && len(a.Remaining) == 0 {
		return r.finishDeletion(ctx, a, done)
	}
	done.add(r.Reporter.Report(ctx, a))
	return done.result()
}

// outcome collects the results of the steps of a reconciliation.
type outcome struct {
	requeue  reconcile.Result
	failures []error
}

func (s *outcome) add(result reconcile.Result, err error) {
	s.requeue, s.failures = schedule.Sooner(s.requeue, result), append(s.failures, err)
}

// result returns the earliest requeue, or only the errors: the queue decides when to retry
// after an error.
func (s *outcome) result() (reconcile.Result, error) {
	return schedule.SoonerUnless(errors.Join(s.failures...), s.requeue, reconcile.Result{})
}

// forgetOtherIntents drops the memory of what the policy was before: of a rollback that has
// ended, and of a deleted policy of the same name.
func (r *Reconciler) forgetOtherIntents(policy *plan.Policy) {
	r.abandoned.forget(policy.Name)
	if !policy.Deleting() {
		r.patience.Forget(policy.Name)
	}
	if policy.Claims() {
		r.cleared.forget(policy.Name)
		r.Releases.Forget(policy.Name)
		r.Writing.Forget(policy.UID)
	}
}

// announce reports at once that a rollback by the annotation begins, because in an emergency
// users want a prompt answer; or that it has ended, before rules are written again.
func (r *Reconciler) announce(ctx context.Context, a pipeline.Assessment) error {
	if a.Policy.Deleting() || saysRolledBack(a.Policy) == a.Policy.RollsBack() {
		return nil
	}
	a.Rollout = rollout.Decision{Enactments: pipeline.EnactmentsOf(a.Policy.Name, a.Snapshot.Enactments)}
	if a.Policy.RollsBack() {
		a.Remaining = r.waitedFor(a)
	}
	return r.Reporter.Announce(ctx, a)
}

// saysRolledBack tells whether the status reports the rollback by the annotation
// cpnp.dev/revert.
func saysRolledBack(policy *plan.Policy) bool {
	ready := meta.FindStatusCondition(policy.Status.Conditions, v1alpha1.ConditionReady)
	return ready != nil && ready.Reason == v1alpha1.ReasonRolledBack
}

// forgetPolicy drops all memory of a policy that is gone, and tells of objects left behind.
func (r *Reconciler) forgetPolicy(ctx context.Context, name string, policies []plan.Policy, snapshot state.Snapshot) error {
	r.History.ForgetPolicy(name)
	r.Releases.Forget(name)
	r.Rollouts.Stages.Forget(name)
	r.patience.Forget(name)
	r.cleared.forget(name)
	r.Reporter.Forget(name)
	r.Writing.KeepOnly(policies)
	r.Retries.KeepOnly(policies)
	return r.tellAbandoned(ctx, name, policies, snapshot)
}
