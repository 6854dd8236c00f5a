// SPDX-License-Identifier: Apache-2.0

package service

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/watch"
)

// workers is how many Services are reconciled at once. Repairs of different objects are
// independent of each other; the repairs of one policy are not.
const workers = 16

// SetupWithManager adds the reconciler to a manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	w := watches{watch.Watcher{Observe: r.Observe, Compiled: &r.policies}}
	return builder.ControllerManagedBy(mgr).
		For(&corev1.Service{}, builder.WithPredicates(watch.ServiceChanged)).
		Watches(&v1alpha1.ControlPlaneNetworkPolicy{}, watch.WithUrgency(w.servicesOfPolicy()), builder.WithPredicates(watch.GateChanged)).
		Watches(&discoveryv1.EndpointSlice{}, w.serviceOfEndpointSlice(), builder.WithPredicates(watch.EndpointsChanged)).
		Watches(&corev1.Node{}, w.servicesWaitingForNode(), builder.WithPredicates(watch.ServingChanged)).
		WatchesMetadata(&corev1.Namespace{}, w.servicesOfNamespace(), builder.WithPredicates(watch.LabelsChanged)).
		WithOptions(watch.ControllerOptions(workers)).
		Complete(r)
}
