// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cpnp-dev/cpnp-operator/internal/apply"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// NodeReconciler keeps the taints of one node as declared.
type NodeReconciler struct {
	Observe state.Observer
	Clients apply.NodeClients
	// Writing counts every reconciliation.
	Writing *Writing
	Repairer
	// Evictions holds the nodes with running evictions; each node has EvictionPause.
	Evictions     *Evictions
	EvictionPause time.Duration
	// Shelters hold taints that would evict the operator.
	Shelters *Shelters
}

// +kubebuilder:rbac:groups="",resources=nodes,verbs=list;watch;patch
// +kubebuilder:rbac:groups="",resources=pods,verbs=list;watch
// +kubebuilder:rbac:groups=cpnp.dev,resources=controlplanenoderecords,verbs=get;list;watch;create;update;delete

// Reconcile observes a node, plans the node's taints, and writes the difference: a repair
// in one request.
func (r *NodeReconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	defer r.Writing.begin()()
	node, err := r.Observe.GetNode(ctx, request.Name)
	if apierrors.IsNotFound(err) {
		r.Shelters.free(request.Name)
		r.goneShared(drift.Object{Kind: "Node", Name: request.Name})
		return reconcile.Result{}, nil
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	policies, err := r.Observe.ListPolicies(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	record, err := r.Observe.GetNodeRecord(ctx, node)
	if err != nil {
		return reconcile.Result{}, err
	}
	compiled := plan.Compile(policies)
	countOnly(compiled)
	claims, _ := plan.Taints(node, compiled)
	wait, err := r.shelter(ctx, node, claims, compiled)
	if err != nil {
		return reconcile.Result{}, err
	}
	shared := remembering(r.History, drift.Node(node, drift.Move(node, record.Record, compiled)), node.UID)
	outcome := drift.Fields(shared, claims, compiled)
	if err := r.keepStranded(ctx, &outcome, shared.Record); err != nil {
		return reconcile.Result{}, err
	}
	job := r.repair(node, record, outcome)
	job.policies, job.releasing = outcome.Policies(record.Record, compiled), releasing(shared, outcome, compiled)
	_, result, err := r.do(ctx, job)
	if err != nil {
		return reconcile.Result{}, err
	}
	return sooner(result, reconcile.Result{RequeueAfter: wait}), nil
}

// shelter holds taints that would evict the operator, and limits how many nodes get
// NoExecute taints at the same time. The taint of another node causes no event of this
// node: shelter returns when to look again; 0 if no taint is held.
func (r *NodeReconciler) shelter(
	ctx context.Context, node *corev1.Node, claims []plan.Claim, policies []plan.Policy,
) (time.Duration, error) {
	if !plan.Evicts(node, claims) {
		r.Shelters.free(node.Name)
		return 0, nil
	}
	now := r.Clock.Now()
	again, err := r.Shelters.hold(node, claims, policies, now, func() (*plan.Shelter, error) { return r.look(ctx, policies) })
	if err != nil || again > 0 {
		return again, err
	}
	wait := r.Evictions.wait(node.Name, r.Shelters.nodes(), r.EvictionPause, now)
	if wait > 0 {
		plan.Postpone(node, claims)
	}
	return wait, nil
}

// keepStranded keeps the taints of a policy that selects no node any more. The last good
// state stays, because most likely a label was lost. The status of the policy will report
// the empty selection too, but the reconciler of nodes sees labels first.
func (r *NodeReconciler) keepStranded(ctx context.Context, outcome *drift.Outcome, before state.Record) error {
	if len(outcome.Released) == 0 {
		return nil
	}
	nodes, err := r.Observe.ListNodes(ctx)
	if err != nil {
		return err
	}
	for field, policy := range outcome.Released {
		if !slices.ContainsFunc(nodes, func(n corev1.Node) bool { return policy.Selects(&n) }) {
			outcome.Keep(field, before)
		}
	}
	return nil
}

func (r *NodeReconciler) repair(node *corev1.Node, record state.NodeRecord, outcome drift.Outcome) repair {
	write := func(outcome drift.Outcome) func(context.Context) error {
		return func(ctx context.Context) error { return apply.WriteNode(ctx, r.Clients, node, record, outcome) }
	}
	return r.remembered(node.UID, outcome, repair{
		object:           drift.Object{Kind: "Node", Name: node.Name},
		version:          node.ResourceVersion,
		findings:         outcome.Findings,
		needed:           outcome.Changed(record.Record),
		elsewhere:        len(outcome.Set) == 0,
		write:            write(outcome),
		withoutRestoring: func(ctx context.Context, given []owner) error { return write(outcome.WithoutRestoring(of(given)))(ctx) },
	})
}
