// SPDX-License-Identifier: Apache-2.0

package node

import (
	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/watch"
)

// workers is how many nodes are reconciled at once. Repairs of different objects are
// independent of each other; the repairs of one policy are not.
const workers = 16

// SetupWithManager adds the reconciler to a manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	w := watches{watch.Watcher{Observe: r.Observe, Compiled: &r.policies}}
	return builder.ControllerManagedBy(mgr).
		For(&corev1.Node{}, builder.WithPredicates(watch.NodeChanged)).
		Watches(&v1alpha1.ControlPlaneNetworkPolicy{}, watch.WithUrgency(w.nodesOfPolicy()), builder.WithPredicates(watch.GateChanged)).
		Watches(&v1alpha1.ControlPlaneNodeRecord{}, &handler.EnqueueRequestForObject{}).
		WithOptions(watch.ControllerOptions(workers)).
		Complete(r)
}
