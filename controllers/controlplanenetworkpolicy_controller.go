// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/apply"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/metrics"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/verify"
)

// PolicyReconciler keeps the NetworkPolicies of one policy as declared, and is
// the only one that writes a policy's status.
type PolicyReconciler struct {
	Observe  state.Observer
	Client   client.Client
	Reporter *Reporter
	Repairer
}

// +kubebuilder:rbac:groups=cpnp.dev,resources=controlplanenetworkpolicies,verbs=list;watch;patch
// +kubebuilder:rbac:groups=cpnp.dev,resources=controlplanenetworkpolicies/status,verbs=patch
// +kubebuilder:rbac:groups=networking.k8s.io,resources=networkpolicies,verbs=list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=events,verbs=create;patch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Reconcile observes the cluster, plans, verifies, finds the difference, applies
// it and reports.
func (r *PolicyReconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	snapshot, err := r.Observe.Snapshot(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	policies := plan.Compile(snapshot.Policies)
	policy := plan.Find(policies, request.Name)
	if policy == nil {
		r.forget(request.Name)
		return reconcile.Result{}, nil
	}
	if policy.Deleting() {
		return r.finalize(ctx, policy, policies, snapshot)
	}
	network := plan.Networks(policy, policies, snapshot.Nodes)
	verdict := verify.Policy(policy, snapshot.Nodes, network)
	diff := drift.Networks(policy, network, snapshot.NetworkPolicies)

	written, result, applyErr := r.apply(ctx, policy, verdict, diff)
	next, err := r.Reporter.report(ctx, Observation{
		policy: policy, policies: policies, nodes: snapshot.Nodes,
		network: network, diff: diff, written: written, verdict: verdict,
	})
	return soonerUnless(errors.Join(applyErr, err), result, next)
}

// apply writes the NetworkPolicies, if they may be written, once it is sure that
// what is written will be taken back.
func (r *PolicyReconciler) apply(ctx context.Context, policy *plan.Policy, verdict verify.Verdict, diff drift.NetworkDiff) (
	written map[drift.Object]bool, result reconcile.Result, err error,
) {
	writes := slices.Concat(diff.Writes, diff.Deletes)
	may := policy.Enforces() && verdict.Holds && policy.Invalid == nil
	if may {
		part, done := share(ctx, 1+len(writes))
		defer done()
		if held, result, err := r.addFinalizer(part, policy.ControlPlaneNetworkPolicy); !held {
			return nil, result, err
		}
	}
	return r.writeAll(ctx, policy, writes, may)
}

// writeAll writes one after the other. One that fails, or hangs, does not keep
// the others from being written.
func (r *PolicyReconciler) writeAll(ctx context.Context, policy *plan.Policy, writes []drift.NetworkWrite, may bool) (
	written map[drift.Object]bool, result reconcile.Result, err error,
) {
	written = map[drift.Object]bool{}
	var objects []drift.Object
	var failures []error
	for i, w := range writes {
		part, done := share(ctx, len(writes)-i)
		wrote, next, err := r.do(part, r.repairOf(policy, w, may))
		done()
		written[w.Object], objects = wrote, append(objects, w.Object)
		result, failures = sooner(result, next), append(failures, err)
	}
	r.History.Differing(policy.Name, "NetworkPolicy", objects, r.Clock.Now())
	return written, result, errors.Join(failures...)
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

func (r *PolicyReconciler) repairOf(policy *plan.Policy, w drift.NetworkWrite, may bool) repair {
	return repair{
		object: w.Object, version: w.Version(), findings: w.Findings,
		policies: []string{policy.Name}, needed: may,
		write: func(ctx context.Context) error {
			if w.Desired == nil {
				return apply.DeleteNetworkPolicy(ctx, r.Client, w.Live)
			}
			return apply.NetworkPolicy(ctx, r.Client, w.Desired, w.Live)
		},
	}
}

// addFinalizer makes sure that what is going to be written will be taken back,
// and says whether that is so.
func (r *PolicyReconciler) addFinalizer(ctx context.Context, policy *v1alpha1.ControlPlaneNetworkPolicy) (bool, reconcile.Result, error) {
	changed := policy.DeepCopy()
	job := repair{
		object: drift.Object{Kind: "ControlPlaneNetworkPolicy", Name: policy.Name}, version: policy.ResourceVersion,
		policies: []string{policy.Name}, needed: controllerutil.AddFinalizer(changed, v1alpha1.Finalizer),
		write: func(ctx context.Context) error { return r.patchMetadata(ctx, policy, changed) },
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
	r.Reporter.forget(policy)
	metrics.Forget(policy)
}
