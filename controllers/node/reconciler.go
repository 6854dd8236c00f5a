// SPDX-License-Identifier: Apache-2.0

// Package node has the reconciler of nodes, which keeps taints as declared.
package node

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
	"github.com/cpnp-dev/cpnp-operator/internal/repair"
	"github.com/cpnp-dev/cpnp-operator/internal/schedule"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/watch"
)

// Reconciler keeps the taints of one node as declared.
type Reconciler struct {
	Observe state.Observer
	Clients apply.NodeClients
	// Writing counts every reconciliation.
	Writing *repair.Writing
	repair.Repairer
	// Evictions holds the nodes with running evictions; each node has EvictionPause.
	Evictions     *schedule.Evictions
	EvictionPause time.Duration
	// Shelters hold taints that would evict the operator.
	Shelters *schedule.Shelters

	policies watch.Policies
}

// +kubebuilder:rbac:groups="",resources=nodes,verbs=list;watch;patch
// +kubebuilder:rbac:groups="",resources=pods,verbs=list;watch
// +kubebuilder:rbac:groups=cpnp.dev,resources=controlplanenoderecords,verbs=get;list;watch;create;update;delete

// Reconcile observes a node, plans the node's taints, and writes the difference: a repair
// in one request.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	defer r.Writing.Begin()()
	node, err := r.Observe.GetNode(ctx, request.Name)
	if apierrors.IsNotFound(err) {
		r.Shelters.Free(request.Name)
		r.GoneShared(drift.Object{Kind: "Node", Name: request.Name})
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
	compiled := r.policies.Compile(policies)
	repair.CountOnly(compiled)
	claims, _ := plan.TaintClaims(node, compiled)
	wait, err := r.shelter(ctx, node, claims, compiled)
	if err != nil {
		return reconcile.Result{}, err
	}
	shared := repair.WithMemory(r.History, drift.SharedNode(node, drift.MoveRecord(node, record.Record, compiled)), node.UID)
	outcome := drift.CompareFields(shared, claims, compiled)
	if err := r.keepStranded(ctx, &outcome, shared.Record); err != nil {
		return reconcile.Result{}, err
	}
	job := r.repair(node, record, outcome)
	job.Policies, job.Releasing = outcome.ConcernedPolicies(record.Record, compiled), repair.Releasing(shared, outcome, compiled)
	_, result, err := r.Do(ctx, job)
	if err != nil {
		return reconcile.Result{}, err
	}
	return schedule.Sooner(result, reconcile.Result{RequeueAfter: wait}), nil
}

// shelter holds taints that would evict the operator, and limits how many nodes get
// NoExecute taints at the same time. The taint of another node causes no event of this
// node: shelter returns when to look again; 0 if no taint is held.
func (r *Reconciler) shelter(
	ctx context.Context, node *corev1.Node, claims []plan.Claim, policies []plan.Policy,
) (time.Duration, error) {
	if !plan.MayEvict(node, claims) {
		r.Shelters.Free(node.Name)
		return 0, nil
	}
	now := r.Clock.Now()
	again, err := r.Shelters.Hold(node, claims, policies, now, func() (*plan.Shelter, error) { return r.look(ctx, policies) })
	if err != nil || again > 0 {
		return again, err
	}
	wait := r.Evictions.Wait(node.Name, r.Shelters.Nodes(), r.EvictionPause, now)
	if wait > 0 {
		plan.PostponeEvictions(node, claims)
	}
	return wait, nil
}

// look returns the places where the operator can run while taints evict pods.
func (r *Reconciler) look(ctx context.Context, policies []plan.Policy) (*plan.Shelter, error) {
	operator, err := r.Observe.FindOperator(ctx)
	if err != nil {
		return nil, err
	}
	nodes, err := r.Observe.ListNodes(ctx)
	if err != nil {
		return nil, err
	}
	records, err := r.Observe.ListNodeRecords(ctx)
	if err != nil {
		return nil, err
	}
	return plan.NewShelter(operator, nodes, policies, repair.StuckTaints(r.History, records, policies, r.Clock.Now())), nil
}

// keepStranded keeps the taints of a policy that selects no node any more. The last good
// state stays, because most likely a label was lost. The status of the policy will report
// the empty selection too, but the reconciler of nodes sees labels first.
func (r *Reconciler) keepStranded(ctx context.Context, outcome *drift.Outcome, before state.Record) error {
	if len(outcome.Released) == 0 {
		return nil
	}
	nodes, err := r.Observe.ListNodes(ctx)
	if err != nil {
		return err
	}
	for field, policy := range outcome.Released {
		if !slices.ContainsFunc(nodes, func(n *corev1.Node) bool { return policy.SelectsNode(n) }) {
			outcome.KeepField(field, before)
		}
	}
	return nil
}

func (r *Reconciler) repair(node *corev1.Node, record state.NodeRecord, outcome drift.Outcome) repair.Job {
	write := func(outcome drift.Outcome) func(context.Context) error {
		return func(ctx context.Context) error { return apply.WriteNode(ctx, r.Clients, node, record, outcome) }
	}
	return r.Remembered(node.UID, outcome, repair.Job{
		Object:    drift.Object{Kind: "Node", Name: node.Name},
		Version:   node.ResourceVersion,
		Findings:  outcome.Findings,
		Needed:    outcome.NeedsWrite(record.Record),
		Elsewhere: len(outcome.Set) == 0,
		Write:     write(outcome),

		RecordFirst: true,
		WithoutRestoring: func(ctx context.Context, given []repair.Owner) error {
			return write(outcome.WithoutRestoring(repair.IsAmong(given)))(ctx)
		},
	})
}
