// SPDX-License-Identifier: Apache-2.0

// Package policyreport has the reconciler of policy reports: after each change of a
// policy's status, the reconciler writes the content of the status to a report. Only an
// operator with --reports runs the reconciler.
package policyreport

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/policyreport"
	"github.com/cpnp-dev/cpnp-operator/internal/watch"
)

// Reconciler writes the report of one policy.
type Reconciler struct {
	Client client.Reader
	Writer *policyreport.Writer

	// uids are those of the policies with a report, by name.
	uids map[string]types.UID
}

// SetupWithManager adds the reconciler to a manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	r.uids = map[string]types.UID{}
	return builder.ControllerManagedBy(mgr).Named("policy-report").
		For(&v1alpha1.ControlPlaneNetworkPolicy{}, builder.WithPredicates(watch.StatusChanged)).
		WithOptions(watch.ControllerOptions(1)).
		Complete(r)
}

// Reconcile writes the report of a policy, and looks again later, because other writers may
// change reports, and reports are not watched. A failed write is logged, and delays no other
// work.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	policy := &v1alpha1.ControlPlaneNetworkPolicy{}
	if err := r.Client.Get(ctx, request.NamespacedName, policy); err != nil {
		if client.IgnoreNotFound(err) == nil {
			r.Writer.Forget(r.uids[request.Name])
			delete(r.uids, request.Name)
		}
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if last, is := r.uids[policy.Name]; is && last != policy.UID { // deleted and created between two looks
		r.Writer.Forget(last)
	}
	r.uids[policy.Name] = policy.UID
	if err := r.Writer.Write(ctx, policy); err != nil {
		logf.FromContext(ctx).Error(err, "Could not write the report of the policy")
	}
	return reconcile.Result{RequeueAfter: r.Writer.Due(policy)}, nil
}
