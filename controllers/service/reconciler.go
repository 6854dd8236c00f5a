// SPDX-License-Identifier: Apache-2.0

// Package service has the reconciler of Services, which keeps traffic policies as declared.
package service

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cpnp-dev/cpnp-operator/internal/apply"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/repair"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/watch"
)

// Reconciler keeps the traffic policies of one Service as declared.
type Reconciler struct {
	Observe state.Observer
	Client  client.Client
	// Writing counts every reconciliation.
	Writing *repair.Writing
	repair.Repairer

	policies watch.Policies
}

// +kubebuilder:rbac:groups="",resources=services,verbs=list;watch;patch
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=list;watch
// +kubebuilder:rbac:groups=discovery.k8s.io,resources=endpointslices,verbs=list;watch

// Reconcile observes a Service, plans the Service's traffic policies, and writes the
// difference.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	defer r.Writing.Begin()()
	policies, err := r.Observe.ListPolicies(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	compiled := r.policies.Compile(policies)
	repair.CountOnly(compiled)
	service, err := r.Observe.GetService(ctx, request.NamespacedName, plan.AwaitsLocal(compiled))
	if apierrors.IsNotFound(err) {
		r.GoneShared(drift.Object{Kind: "Service", Namespace: request.Namespace, Name: request.Name})
		return reconcile.Result{}, nil
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	claims, _ := plan.ServiceClaims(service, compiled)
	shared := repair.WithMemory(r.History, drift.SharedService(service.Service), service.UID)
	outcome := drift.CompareFields(shared, claims, compiled)
	job := r.repair(service, shared, outcome)
	job.Policies, job.Releasing = outcome.ConcernedPolicies(shared.Record, compiled), repair.Releasing(shared, outcome, compiled)
	wrote, result, err := r.Do(ctx, job)
	if wrote && result.IsZero() { // otherwise an earlier write is not in the cache yet
		r.Releases.Record(shared.Object, shared.Record, outcome.Record, compiled)
	}
	return result, err
}

func (r *Reconciler) repair(service state.Service, shared drift.Shared, outcome drift.Outcome) repair.Job {
	write := func(outcome drift.Outcome) func(context.Context) error {
		return func(ctx context.Context) error { return apply.WriteService(ctx, r.Client, service.Service, outcome) }
	}
	return r.Remembered(service.UID, outcome, repair.Job{
		Object:   shared.Object,
		Version:  service.ResourceVersion,
		Findings: outcome.Findings,
		Needed:   outcome.NeedsWrite(shared.Record),
		Write:    write(outcome),
		WithoutRestoring: func(ctx context.Context, given []repair.Owner) error {
			return write(outcome.WithoutRestoring(repair.IsAmong(given)))(ctx)
		},
	})
}
