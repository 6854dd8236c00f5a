// SPDX-License-Identifier: Apache-2.0

package posture

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
	"github.com/cpnp-dev/cpnp-operator/internal/watch"
)

// SetupWithManager adds the reconciler to a manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	w := watches{watch.Watcher{Observe: r.Observe, Compiled: &watch.Policies{}}}
	b := builder.ControllerManagedBy(mgr).Named("posture").
		For(&v1alpha1.ControlPlaneNetworkPolicy{}, builder.WithPredicates(watch.IntentChanged)).
		Watches(&corev1.Node{}, w.policiesOfNode()).
		Watches(&discoveryv1.EndpointSlice{}, w.policiesWithTLS(), builder.WithPredicates(watch.APIServersChanged)).
		WatchesMetadata(&appsv1.DaemonSet{}, w.policiesWithTLS(), builder.WithPredicates(watch.Existence)).
		WithOptions(watch.ControllerOptions(1))
	if !r.Observe.WithoutPostures {
		b = b.Watches(&v1alpha1.ControlPlaneNodePosture{}, w.policyOfPosture(), builder.WithPredicates(watch.PostureChanged))
	}
	return b.Complete(r)
}

// watches maps events to policies.
type watches struct{ watch.Watcher }

// policyOfPosture requests the policy named in a posture, after a moment in which other
// observers may write too.
func (w watches) policyOfPosture() handler.EventHandler {
	return watch.HandleEvery(func(_ context.Context, q watch.Queue, before, after client.Object) {
		if after == nil {
			after = before
		}
		if posture, ok := after.(*v1alpha1.ControlPlaneNodePosture); ok {
			q.AddAfter(watch.NewRequest("", posture.Spec.Policy), timing.ReportDelay)
		}
	})
}

// policiesOfNode requests the policies with TLS, for a node that joins, leaves, or changes
// in a field that decides about targets.
func (w watches) policiesOfNode() handler.EventHandler {
	return watch.HandleEvery(func(ctx context.Context, q watch.Queue, before, after client.Object) {
		was, hadWas := before.(*corev1.Node)
		is, hasIs := after.(*corev1.Node)
		if hadWas && hasIs && !watch.MembershipChanged(was, is) && !watch.IdentityChanged(was, is) {
			return
		}
		w.requestPolicies(ctx, q)
	})
}

// policiesWithTLS requests the policies that declare TLS.
func (w watches) policiesWithTLS() handler.EventHandler {
	return watch.HandleEvery(func(ctx context.Context, q watch.Queue, _, _ client.Object) { w.requestPolicies(ctx, q) })
}

func (w watches) requestPolicies(ctx context.Context, q watch.Queue) {
	for _, policy := range w.Policies(ctx) {
		if policy.TLSPosture() != nil {
			q.Add(watch.NewRequest("", policy.Name))
		}
	}
}
