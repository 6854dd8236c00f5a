// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cpnp-dev/cpnp-operator/internal/apply"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// ServiceReconciler keeps the traffic policies of one Service as declared.
type ServiceReconciler struct {
	Observe state.Observer
	Client  client.Client
	// Writing counts every reconciliation.
	Writing *Writing
	Repairer
}

// +kubebuilder:rbac:groups="",resources=services,verbs=list;watch;patch
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=list;watch
// +kubebuilder:rbac:groups=discovery.k8s.io,resources=endpointslices,verbs=list;watch

// Reconcile observes a Service, plans the Service's traffic policies, and writes the
// difference.
func (r *ServiceReconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	defer r.Writing.begin()()
	policies, err := r.Observe.ListPolicies(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	compiled := plan.Compile(policies)
	countOnly(compiled)
	service, err := r.Observe.GetService(ctx, request.NamespacedName, plan.AwaitsLocal(compiled))
	if apierrors.IsNotFound(err) {
		r.goneShared(drift.Object{Kind: "Service", Namespace: request.Namespace, Name: request.Name})
		return reconcile.Result{}, nil
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	claims, _ := plan.Service(service, compiled)
	shared := remembering(r.History, drift.Service(service.Service), service.UID)
	outcome := drift.Fields(shared, claims, compiled)
	job := r.repair(service, shared, outcome)
	job.policies, job.releasing = outcome.Policies(shared.Record, compiled), releasing(shared, outcome, compiled)
	wrote, result, err := r.do(ctx, job)
	if wrote {
		r.releases.note(shared.Object, shared.Record, outcome.Record, compiled)
	}
	return result, err
}

func (r *ServiceReconciler) repair(service state.Service, shared drift.Shared, outcome drift.Outcome) repair {
	write := func(outcome drift.Outcome) func(context.Context) error {
		return func(ctx context.Context) error { return apply.WriteService(ctx, r.Client, service.Service, outcome) }
	}
	return r.remembered(service.UID, outcome, repair{
		object:           shared.Object,
		version:          service.ResourceVersion,
		findings:         outcome.Findings,
		needed:           outcome.Changed(shared.Record),
		write:            write(outcome),
		withoutRestoring: func(ctx context.Context, given []owner) error { return write(outcome.WithoutRestoring(of(given)))(ctx) },
	})
}
