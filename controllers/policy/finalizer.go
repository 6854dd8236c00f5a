// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"context"
	"errors"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/apply"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/pipeline"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/repair"
	"github.com/cpnp-dev/cpnp-operator/internal/report"
	"github.com/cpnp-dev/cpnp-operator/internal/schedule"
)

// finishDeletion deletes the enactments of a policy without remaining objects, and then
// removes the finalizer. done holds the results of the earlier steps: after a failure, a
// policy that is rolled back stays. An orphaned policy has waited long enough.
func (r *Reconciler) finishDeletion(ctx context.Context, a pipeline.Assessment, done outcome) (reconcile.Result, error) {
	if err := errors.Join(done.failures...); err != nil && a.Policy.RollsBack() {
		_, reportErr := r.Reporter.Report(ctx, a) // otherwise the last status would tell of objects restored since
		return reconcile.Result{}, errors.Join(err, reportErr)
	}
	// The garbage collector would delete the enactments with the policy, but perhaps only after
	// a new policy of the same name exists.
	stay, result, err := r.forgetNodes(ctx, a.Policy, pipeline.EnactmentsOutside(a.Policy.Name, nil, a.Snapshot.Enactments))
	gone := false
	if len(stay) == 0 {
		gone, result, err = r.removeFinalizer(ctx, a.Policy)
	}
	if len(stay) > 0 || err != nil {
		a.Remaining = stay
		next, reportErr := r.Reporter.Report(ctx, a)
		return schedule.SoonerUnless(errors.Join(err, reportErr), result, next)
	}
	r.Reporter.TellReleases(a.Policy)
	if gone && a.Policy.RollsBack() && pipeline.IsUnread(a.Policy, a.Live()) {
		r.Reporter.Emit(a.Policy, report.CalicoObjectsLeft(a.Policy.Name))
	}
	return result, nil
}

// addFinalizer adds the finalizer, so that a later deletion of the policy rolls back all
// writes, and tells whether the finalizer is there. Afterwards, policy holds the answer of
// the API server.
func (r *Reconciler) addFinalizer(ctx context.Context, policy *plan.Policy) (bool, reconcile.Result, error) {
	changed := policy.DeepCopy()
	job := repair.Job{
		Object: drift.Object{Kind: drift.KindPolicy, Name: policy.Name}, Version: policy.ResourceVersion,
		Policies: []string{policy.Name}, Needed: controllerutil.AddFinalizer(changed, v1alpha1.Finalizer),
		Write: func(ctx context.Context) error {
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
	wrote, result, err := r.Do(ctx, job)
	return wrote || !job.Needed, result, err
}

// patchMetadata writes changed metadata. The API server refuses the patch if the policy has
// changed since.
func (r *Reconciler) patchMetadata(ctx context.Context, policy, changed *v1alpha1.ControlPlaneNetworkPolicy) error {
	patch := client.MergeFromWithOptions(policy, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Patch(ctx, changed, patch, client.FieldOwner(v1alpha1.FieldManagerStatus)); err != nil {
		return fmt.Errorf("writing the finalizer of policy %s: %w", policy.Name, err)
	}
	return nil
}

// removeFinalizer removes the finalizer, and tells whether the policy is gone by the
// current write.
func (r *Reconciler) removeFinalizer(ctx context.Context, policy *plan.Policy) (gone bool, result reconcile.Result, err error) {
	changed := policy.DeepCopy()
	controllerutil.RemoveFinalizer(changed, v1alpha1.Finalizer)
	wrote, result, err := r.Do(ctx, repair.Job{
		Object: drift.Object{Kind: drift.KindPolicy, Name: policy.Name}, Version: policy.ResourceVersion,
		Policies: []string{policy.Name}, Needed: true,
		Write: func(ctx context.Context) error {
			return client.IgnoreNotFound(r.patchMetadata(ctx, policy.ControlPlaneNetworkPolicy, changed))
		},
	})
	return wrote && result.IsZero(), result, err // otherwise an earlier write is not in the cache yet
}
