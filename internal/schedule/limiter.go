// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"sync"
	"time"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// limiter is the rate limiter of a queue. limiter is safe for concurrent use.
type limiter struct {
	workqueue.TypedRateLimiter[reconcile.Request]
	mu      sync.Mutex
	failing map[reconcile.Request]bool
}

// NewLimiter returns the rate limiter of a queue.
func NewLimiter() workqueue.TypedRateLimiter[reconcile.Request] {
	return &limiter{
		TypedRateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](timing.QueueRetryFirst, timing.QueueRetryLast),
		failing:          map[reconcile.Request]bool{},
	}
}

// When implements workqueue.TypedRateLimiter: the result is the delay before the next try
// of a failed item.
func (l *limiter) When(item reconcile.Request) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failing[item] = true
	return min(l.TypedRateLimiter.When(item), max(timing.QueueRetryFew, time.Duration(len(l.failing))*timing.QueueRetryEach))
}

// Forget implements workqueue.TypedRateLimiter: the item did not fail.
func (l *limiter) Forget(item reconcile.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.failing, item)
	l.TypedRateLimiter.Forget(item)
}
