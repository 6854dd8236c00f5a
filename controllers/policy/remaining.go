// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/intent"
	"github.com/cpnp-dev/cpnp-operator/internal/pipeline"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/repair"
	"github.com/cpnp-dev/cpnp-operator/internal/schedule"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// findRemaining finds what is still to be rolled back for a policy that claims nothing any
// more: everything, or for an orphaned policy the rules on trial. The reconcilers of nodes
// and Services restore taints and traffic policies.
func (r *Reconciler) findRemaining(ctx context.Context, a *pipeline.Assessment) (result reconcile.Result, err error) {
	switch a.Policy.Intent() {
	case intent.RollBack, intent.Delete:
		a.Remaining, result, err = r.notRolledBack(ctx, *a)
	case intent.Orphan:
		a.Remaining, result = r.leftOnTrial(*a)
	}
	if len(a.Remaining) > 0 { // the end of a wait may come without an event
		result = schedule.Sooner(result, reconcile.Result{RequeueAfter: timing.AskAgain})
	}
	return result, err
}

// notRolledBack returns the names of the objects not yet restored or deleted for the
// policy, according to the cache; and once the cache shows none, according to the API
// server.
func (r *Reconciler) notRolledBack(ctx context.Context, a pipeline.Assessment) (
	left []string, result reconcile.Result, err error,
) {
	left = r.waitedFor(a)
	if r.awaitsBackend(a.Policy, a.Live()) {
		left = append(left, calicoUnanswered)
	}
	records, err := r.Observe.ListNodeRecords(ctx)
	if err != nil {
		return []string{unknownRemains}, reconcile.Result{}, err
	}
	services, err := r.Observe.ListServices(ctx, nil)
	if err != nil {
		return []string{unknownRemains}, reconcile.Result{}, err
	}
	left = append(left, r.recordedFor(a.Policy, a.Policies, a.Snapshot.Nodes, records, services)...)
	if len(left) > 0 {
		return left, reconcile.Result{}, nil
	}
	return r.lastLook(ctx, a.Policy, a.Snapshot)
}

// Names for what is waited for, if it has no name.
const (
	calicoUnanswered = "objects of Calico, which does not answer now"
	unknownRemains   = "what the cache could not tell"
)

// waitedFor returns the names of the objects to remove before the policy may go.
// NetworkPolicies are abandoned if the API server refuses the deletion; hosts must be
// rolled back.
func (r *Reconciler) waitedFor(a pipeline.Assessment) []string {
	ours := slices.DeleteFunc(slices.Clone(a.Diff.Removals), func(w drift.Write) bool {
		return r.Retries.Abandoned(w.Object, a.Policy.UID)
	})
	return namesOf(slices.Concat(ours, a.HostDiff.Removals))
}

func namesOf(writes []drift.Write) []string {
	var names []string
	for _, w := range writes {
		names = append(names, w.Object.String())
	}
	return names
}

// recordedFor returns the nodes and Services that still have a field from the policy,
// without abandoned nodes and Services.
func (r *Reconciler) recordedFor(
	policy *plan.Policy, policies []plan.Policy, nodes []*corev1.Node, records state.NodeRecords, services []state.Service,
) []string {
	var left []string
	for _, node := range nodes {
		object := drift.Object{Kind: "Node", Name: node.Name}
		if drift.MoveRecord(node, records.OfNode(node).Record, policies).MentionsPolicy(policy.Name) && !r.Retries.Abandoned(object, policy.UID) {
			left = append(left, object.String())
		}
	}
	for _, service := range services {
		if shared := repair.WithMemory(r.History, drift.SharedService(service.Service), service.UID); shared.MentionsPolicy(policy.Name) &&
			!r.Retries.Abandoned(shared.Object, policy.UID) && !r.Releases.Has(policy.Name, shared.Object) {
			left = append(left, shared.Object.String())
		}
	}
	return left
}
