// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

type (
	// Queue is the work queue of a controller.
	Queue         = workqueue.TypedRateLimitingInterface[reconcile.Request]
	managedFields = metav1.ManagedFieldsEntry
)

// Watcher maps events to the reconciliations needed.
type Watcher struct {
	Observe state.Observer
	// Compiled keeps the compiled policies; nil compiles the policies for each event.
	Compiled *Policies
}

// NewRequest returns the request to reconcile an object.
func NewRequest(namespace, name string) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}}
}

// HandleEvery handles all events in the same way; before and after are the states around an event,
// nil for a missing state.
func HandleEvery(handle func(ctx context.Context, q Queue, before, after client.Object)) handler.EventHandler {
	return handler.Funcs{
		CreateFunc:  func(ctx context.Context, e event.CreateEvent, q Queue) { handle(ctx, q, nil, e.Object) },
		DeleteFunc:  func(ctx context.Context, e event.DeleteEvent, q Queue) { handle(ctx, q, e.Object, nil) },
		GenericFunc: func(ctx context.Context, e event.GenericEvent, q Queue) { handle(ctx, q, nil, e.Object) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q Queue) {
			handle(ctx, q, e.ObjectOld, e.ObjectNew)
		},
	}
}

// Policies returns all policies. If the cache cannot be read now, the result is empty; the
// cache will repeat the events later.
func (w Watcher) Policies(ctx context.Context) []plan.Policy {
	policies, err := w.Observe.ListPolicies(ctx)
	if err != nil {
		logf.FromContext(ctx).Error(err, "Could not tell which policies an event concerns")
		return nil
	}
	return w.Compiled.Compile(policies)
}

// RecordMentions tells whether the Service's record names the policy.
func RecordMentions(service *corev1.Service, policy string) bool {
	return drift.SharedService(service).Record.MentionsPolicy(policy)
}

// CompileOne compiles the policy of an event.
func CompileOne(object client.Object) plan.Policy {
	policy, ok := object.(*v1alpha1.ControlPlaneNetworkPolicy)
	if !ok {
		policy = &v1alpha1.ControlPlaneNetworkPolicy{}
	}
	return plan.Compile([]v1alpha1.ControlPlaneNetworkPolicy{*policy})[0]
}
