// SPDX-License-Identifier: Apache-2.0

package repair

import (
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// Retries remembers when failed repairs may be tried again. The zero value is ready to use,
// a nil value remembers nothing. Retries is safe for concurrent use.
type Retries struct {
	mu sync.Mutex
	of map[drift.Object]retry
	// refusals counts refused writes by which policies release objects.
	refusals map[release]refusal
}

type retry struct {
	delay time.Duration
	next  time.Time
}

// Owner is a policy for which an object was written. A new policy of the same name is
// another owner.
type Owner struct {
	name string
	UID  types.UID
}

// OwnerOf returns the policy as an owner of objects.
func OwnerOf(policy *plan.Policy) Owner { return Owner{policy.Name, policy.UID} }

// release is the release of an object by a policy.
type release struct {
	object drift.Object
	policy types.UID
}

type refusal struct {
	// times counts refusals of the API server in a row.
	times int
	// Abandoned tells that the policy does not wait for the object any more.
	abandoned bool
}

// postpone records that a write has not ended the drift of the object, and returns when to
// try again.
func (r *Retries) postpone(object drift.Object, now time.Time) time.Duration {
	if r == nil {
		return timing.IncompleteRetryFirst
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of == nil {
		r.of = map[drift.Object]retry{}
	}
	for other, before := range r.of { // without a further try, the drift has ended otherwise
		if now.Sub(before.next) > timing.IncompleteRetryLast {
			delete(r.of, other)
		}
	}
	delay := timing.IncompleteRetryFirst
	if before, again := r.of[object]; again {
		delay = min(2*before.delay, timing.IncompleteRetryLast)
	}
	r.of[object] = retry{delay: delay, next: now.Add(delay)}
	return delay
}

// refused records that the API server has refused the release of an object, and returns the
// policies with often or more refusals in a row.
func (r *Retries) refused(object drift.Object, policies []Owner, often int) (abandoned []Owner) {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refusals == nil {
		r.refusals = map[release]refusal{}
	}
	for _, policy := range policies {
		key := release{object, policy.UID}
		of := r.refusals[key]
		of.times++
		r.refusals[key] = of
		if of.times >= often {
			abandoned = append(abandoned, policy)
		}
	}
	return abandoned
}

// abandon records that the policies do not wait for the object any more.
func (r *Retries) abandon(object drift.Object, policies []Owner) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, policy := range policies {
		key := release{object, policy.UID}
		of := r.refusals[key]
		of.abandoned = true
		r.refusals[key] = of
	}
}

// Abandoned tells whether a policy does not wait for the object any more.
func (r *Retries) Abandoned(object drift.Object, policy types.UID) bool {
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refusals[release{object, policy}].abandoned
}

// forgetOf forgets the refusals of an object for the given policies.
func (r *Retries) forgetOf(object drift.Object, policies []Owner) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, policy := range policies {
		delete(r.refusals, release{object, policy.UID})
	}
}

// KeepOnly forgets the refusals of all policies except the given policies.
func (r *Retries) KeepOnly(policies []plan.Policy) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.refusals, func(key release, _ refusal) bool {
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
	maps.DeleteFunc(r.refusals, func(key release, _ refusal) bool { return key.object == object })
}
