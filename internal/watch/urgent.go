// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"context"
	"time"

	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// UrgentPriority is the priority of changes of a policy by a user. All other events have
// priority 0 or less, because many users can write the other objects, as often as they
// like.
const UrgentPriority = 100

// WithUrgency puts reconciliations caused by events of policies before all waiting
// reconciliations: spec.suspend, the annotation cpnp.dev/revert and the deletion are the
// means to end a fault.
func WithUrgency(h handler.EventHandler) handler.EventHandler {
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q Queue) {
			if e.IsInInitialList {
				h.Create(ctx, e, q) // no change: the policy existed before the start
			} else {
				h.Create(ctx, e, urgently(q))
			}
		},
		UpdateFunc:  func(ctx context.Context, e event.UpdateEvent, q Queue) { h.Update(ctx, e, urgently(q)) },
		DeleteFunc:  func(ctx context.Context, e event.DeleteEvent, q Queue) { h.Delete(ctx, e, urgently(q)) },
		GenericFunc: func(ctx context.Context, e event.TypedGenericEvent[client.Object], q Queue) { h.Generic(ctx, e, q) },
	}
}

func urgently(q Queue) Queue {
	if q, is := q.(priorityqueue.PriorityQueue[reconcile.Request]); is {
		return urgentQueue{q}
	}
	return q
}

// urgentQueue adds every item before all waiting items.
type urgentQueue struct {
	priorityqueue.PriorityQueue[reconcile.Request]
}

// Add implements workqueue.TypedInterface.
func (q urgentQueue) Add(item reconcile.Request) { q.AddWithOpts(priorityqueue.AddOpts{}, item) }

// AddAfter implements workqueue.TypedDelayingInterface.
func (q urgentQueue) AddAfter(item reconcile.Request, after time.Duration) {
	q.AddWithOpts(priorityqueue.AddOpts{After: after}, item)
}

// AddRateLimited implements workqueue.TypedRateLimitingInterface.
func (q urgentQueue) AddRateLimited(item reconcile.Request) {
	q.AddWithOpts(priorityqueue.AddOpts{RateLimited: true}, item)
}

// AddWithOpts implements priorityqueue.PriorityQueue.
func (q urgentQueue) AddWithOpts(o priorityqueue.AddOpts, items ...reconcile.Request) {
	o.Priority = ptr.To(UrgentPriority)
	q.PriorityQueue.AddWithOpts(o, items...)
}
