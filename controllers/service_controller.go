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
	Repairer
}

// +kubebuilder:rbac:groups="",resources=services,verbs=list;watch;patch
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=list;watch
// +kubebuilder:rbac:groups=discovery.k8s.io,resources=endpointslices,verbs=list;watch

// Reconcile observes a Service, plans its traffic policies, finds the
// difference and writes it.
func (r *ServiceReconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	policies, err := r.Observe.Policies(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	compiled := plan.Compile(policies)
	service, err := r.Observe.Service(ctx, request.NamespacedName, plan.AwaitsLocal(compiled))
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
	_, result, err := r.do(ctx, r.repair(service, shared, outcome))
	return result, err
}

func (r *ServiceReconciler) repair(service state.Service, shared drift.Shared, outcome drift.Outcome) repair {
	return r.remembered(service.UID, outcome, repair{
		object:   shared.Object,
		version:  service.ResourceVersion,
		findings: outcome.Findings,
		policies: outcome.Policies(shared.Record),
		needed:   outcome.Changed(shared.Record),
		write:    func(ctx context.Context) error { return apply.Service(ctx, r.Client, service.Service, outcome) },
	})
}
