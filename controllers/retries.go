// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"sync"
	"time"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cpnp-dev/cpnp-operator/internal/drift"
)

// How long an object is left as it is after a write that was not stored as written:
// twice as long after each one.
const (
	firstRetry = time.Second
	lastRetry  = 30 * time.Second
)

// Retries remembers when objects may be written again that a write did not put right.
// The zero value is ready, a nil one remembers nothing; it is safe for concurrent use.
type Retries struct {
	mu sync.Mutex
	of map[drift.Object]retry
}

type retry struct {
	delay time.Duration
	next  time.Time
	// refusals is how often in a row the API server has refused the write.
	refusals int
	// abandoned says that nobody waits for the object any more.
	abandoned bool
}

// postpone notes that a write has not put the object right, and returns when to try
// again.
func (r *Retries) postpone(object drift.Object, now time.Time) time.Duration {
	if r == nil {
		return firstRetry
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of == nil {
		r.of = map[drift.Object]retry{}
	}
	for other, before := range r.of { // it was not tried again: others have put it right
		if now.Sub(before.next) > lastRetry {
			delete(r.of, other)
		}
	}
	before, again := r.of[object]
	after := before
	after.delay = firstRetry
	if again {
		after.delay = min(2*before.delay, lastRetry)
	}
	after.next = now.Add(after.delay)
	r.of[object] = after
	return after.delay
}

// refused notes that the API server has refused a write, and returns how often in a
// row that is, and when to try again.
func (r *Retries) refused(object drift.Object, now time.Time) (times int, delay time.Duration) {
	delay = r.postpone(object, now)
	if r == nil {
		return 1, delay
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	of := r.of[object]
	of.refusals++
	r.of[object] = of
	return of.refusals, delay
}

// abandon notes that nobody is to wait for the object any more.
func (r *Retries) abandon(object drift.Object) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	of := r.of[object]
	of.abandoned = true
	r.of[object] = of
}

// abandoned says whether nobody is to wait for the object any more.
func (r *Retries) abandoned(object drift.Object) bool {
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.of[object].abandoned
}

// wait returns for how long the object is not to be written.
func (r *Retries) wait(object drift.Object, now time.Time) time.Duration {
	if r == nil {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	before, postponed := r.of[object]
	if !postponed {
		return 0
	}
	return max(0, before.next.Sub(now))
}

// forget ends that: the object is right.
func (r *Retries) forget(object drift.Object) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.of, object)
}

// How failures are retried: soon at first, then ever more slowly, but as long as few
// fail, not so slowly that it takes long to notice that the API server is well again.
const (
	retryFirst = 100 * time.Millisecond
	retryLast  = 30 * time.Second
	// retryFew is how slowly what fails is tried at the most, if it is little; and
	// retryEach how much more slowly for each that fails.
	retryFew  = 3 * time.Second
	retryEach = 20 * time.Millisecond
)

// limiter is the rate limiter of a queue. It is safe for concurrent use.
type limiter struct {
	workqueue.TypedRateLimiter[reconcile.Request]
	mu      sync.Mutex
	failing map[reconcile.Request]bool
}

func newLimiter() *limiter {
	return &limiter{
		TypedRateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](retryFirst, retryLast),
		failing:          map[reconcile.Request]bool{},
	}
}

// When is the queue's: it returns after what time to try again what failed.
func (l *limiter) When(item reconcile.Request) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failing[item] = true
	return min(l.TypedRateLimiter.When(item), max(retryFew, time.Duration(len(l.failing))*retryEach))
}

// Forget is the queue's: it did not fail.
func (l *limiter) Forget(item reconcile.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.failing, item)
	l.TypedRateLimiter.Forget(item)
}
