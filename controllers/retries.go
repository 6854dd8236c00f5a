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

// How long an object is left alone after a write that was not stored as written. The delay
// doubles after each such write.
const (
	firstRetry = time.Second
	lastRetry  = 30 * time.Second
)

// Retries remembers when failed repairs may be tried again. The zero value is ready to use,
// a nil value remembers nothing. Retries is safe for concurrent use.
type Retries struct {
	mu sync.Mutex
	of map[drift.Object]retry
	// refusals counts refused writes by which policies release objects.
	refusals map[letGo]refusal
}

type retry struct {
	delay time.Duration
	next  time.Time
}

// owner is a policy for which an object was written. A new policy of the same name is
// another owner.
type owner struct {
	name string
	uid  types.UID
}

func ownerOf(policy *plan.Policy) owner { return owner{policy.Name, policy.UID} }

// letGo is the release of one object by one policy.
type letGo struct {
	object drift.Object
	policy types.UID
}

type refusal struct {
	// times counts refusals of the API server in a row.
	times int
	// abandoned tells that the policy does not wait for the object any more.
	abandoned bool
}

// postpone records that a write has not ended the drift of the object, and returns when to
// try again.
func (r *Retries) postpone(object drift.Object, now time.Time) time.Duration {
	if r == nil {
		return firstRetry
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of == nil {
		r.of = map[drift.Object]retry{}
	}
	for other, before := range r.of { // without a further try, the drift has ended otherwise
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

// refused records that the API server has refused the release of an object, and returns the
// policies with often or more refusals in a row.
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

// abandon records that the policies do not wait for the object any more.
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

// abandoned tells whether a policy does not wait for the object any more.
func (r *Retries) abandoned(object drift.Object, policy types.UID) bool {
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refusals[letGo{object, policy}].abandoned
}

// forgetOf forgets the refusals of an object for the given policies.
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

// keep forgets the refusals of all policies except the given policies.
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

// wait returns how long the object must not be written.
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

// forget ends the delay and forgets the refusals, because the object is as declared.
func (r *Retries) forget(object drift.Object) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.of, object)
	maps.DeleteFunc(r.refusals, func(key letGo, _ refusal) bool { return key.object == object })
}

// Delays of retries: short at first, then longer. While few objects fail, the delay stays
// short enough to notice soon that the API server works again.
const (
	retryFirst = 100 * time.Millisecond
	retryLast  = 30 * time.Second
	// retryFew is the longest delay while few objects fail. While many objects fail, the
	// longest delay is retryEach for each of the failing objects.
	retryFew  = 3 * time.Second
	retryEach = 20 * time.Millisecond
)

// limiter is the rate limiter of a queue. limiter is safe for concurrent use.
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

// When implements workqueue.TypedRateLimiter: the result is the delay before the next try
// of a failed item.
func (l *limiter) When(item reconcile.Request) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failing[item] = true
	return min(l.TypedRateLimiter.When(item), max(retryFew, time.Duration(len(l.failing))*retryEach))
}

// Forget implements workqueue.TypedRateLimiter: the item did not fail.
func (l *limiter) Forget(item reconcile.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.failing, item)
	l.TypedRateLimiter.Forget(item)
}
