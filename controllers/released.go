// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"sync"

	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// releases remembers which Services were restored for policies in roll back. A Service is
// waited for only once: whoever may write the Service could restore the record again and
// again, and the policy would never be gone. The zero value is ready to use, a nil value
// remembers nothing. releases is safe for concurrent use.
type releases struct {
	mu sync.Mutex
	of map[string]map[drift.Object]bool // by policy
}

// note records a write to a Service, for the policies whose entries the write removed from
// the Service's record.
func (r *releases) note(object drift.Object, before, after state.Record, policies []plan.Policy) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, entry := range before {
		policy := plan.Find(policies, entry.Policy)
		if policy == nil || !policy.RollsBack() || after.MentionsPolicy(entry.Policy) {
			continue
		}
		if r.of == nil {
			r.of = map[string]map[drift.Object]bool{}
		}
		if r.of[policy.Name] == nil {
			r.of[policy.Name] = map[drift.Object]bool{}
		}
		r.of[policy.Name][object] = true
	}
}

// has tells whether the object was restored for the policy.
func (r *releases) has(policy string, object drift.Object) bool {
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.of[policy][object]
}

// forget drops the memory of a policy that writes again, or is gone.
func (r *releases) forget(policy string) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.of, policy)
}
