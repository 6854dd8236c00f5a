// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cpnp-dev/cpnp-operator/internal/apply"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// NodeReconciler keeps the taints of one node as declared.
type NodeReconciler struct {
	Observe state.Observer
	Client  client.Writer
	Repairer
}

// +kubebuilder:rbac:groups="",resources=nodes,verbs=list;watch;patch
// +kubebuilder:rbac:groups="",resources=pods,verbs=list;watch

// Reconcile observes a node, plans its taints, finds the difference and writes
// it, in one request at most.
func (r *NodeReconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	node, err := r.Observe.Node(ctx, request.Name)
	if apierrors.IsNotFound(err) {
		r.gone(drift.Object{Kind: "Node", Name: request.Name})
		return reconcile.Result{}, nil
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	policies, err := r.Observe.Policies(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	_, result, err := r.do(ctx, r.plan(node, plan.Compile(policies)))
	return result, err
}

func (r *NodeReconciler) plan(node *corev1.Node, policies []plan.Policy) repair {
	claims, _ := plan.Taints(node, policies)
	shared := drift.Node(node)
	outcome := drift.Fields(shared, claims, policies)
	return repair{
		object:   shared.Object,
		version:  node.ResourceVersion,
		findings: outcome.Findings,
		policies: outcome.Policies(shared.Record),
		needed:   outcome.Changed(shared.Record),
		write:    func(ctx context.Context) error { return apply.Node(ctx, r.Client, node, outcome) },
	}
}
