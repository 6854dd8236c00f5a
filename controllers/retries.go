// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
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
	// refusals are those of writes with which policies let go of objects.
	refusals map[letGo]refusal
}

type retry struct {
	delay time.Duration
	next  time.Time
}

// owner is a policy for which an object was written: another one of its name begins anew.
type owner struct {
	name string
	uid  types.UID
}

func ownerOf(policy *plan.Policy) owner { return owner{policy.Name, policy.UID} }

// letGo is what one policy wants: to let go of one object.
type letGo struct {
	object drift.Object
	policy types.UID
}

type refusal struct {
	// times is how often in a row the API server has refused it.
	times int
	// abandoned says that the policy does not wait for it any more.
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
	delay := firstRetry
	if before, again := r.of[object]; again {
		delay = min(2*before.delay, lastRetry)
	}
	r.of[object] = retry{delay: delay, next: now.Add(delay)}
	return delay
}

// refused notes that the API server has refused to let policies go of an object, and
// returns those to which that has happened often enough, in a row.
func (r *Retries) refused(object drift.Object, policies []owner, often int) (given []owner) {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refusals == nil {
		r.refusals = map[letGo]refusal{}
	}
	for _, policy := range policies {
		key := letGo{object, policy.uid}
		of := r.refusals[key]
		of.times++
		r.refusals[key] = of
		if of.times >= often {
			given = append(given, policy)
		}
	}
	return given
}

// abandon notes that the policies do not wait for the object any more.
func (r *Retries) abandon(object drift.Object, policies []owner) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, policy := range policies {
		key := letGo{object, policy.uid}
		of := r.refusals[key]
		of.abandoned = true
		r.refusals[key] = of
	}
}

// abandoned says whether a policy does not wait for the object any more.
func (r *Retries) abandoned(object drift.Object, policy types.UID) bool {
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refusals[letGo{object, policy}].abandoned
}

// forgetOf ends the tries of policies to let go of an object.
func (r *Retries) forgetOf(object drift.Object, policies []owner) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, policy := range policies {
		delete(r.refusals, letGo{object, policy.uid})
	}
}

// keep forgets the tries of all policies but those that there are.
func (r *Retries) keep(policies []plan.Policy) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.refusals, func(key letGo, _ refusal) bool {
		return !slices.ContainsFunc(policies, func(p plan.Policy) bool { return p.UID == key.policy })
	})
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
	maps.DeleteFunc(r.refusals, func(key letGo, _ refusal) bool { return key.object == object })
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
