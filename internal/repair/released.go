// SPDX-License-Identifier: Apache-2.0

package repair

import (
	"sync"

	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// maxReleases limits the remembered Services of a policy: who may write Services can make many
// with forged records. A policy waits for Services beyond the limit again and again.
const maxReleases = 10_000

// Releases remembers which Services were restored for policies in roll back. A policy waits
// only once for a Service: otherwise a writer of the Service could restore the record again
// and again, and the policy would never be gone. The zero value is ready to use, a nil
// value remembers nothing. releases is safe for concurrent use.
type Releases struct {
	mu sync.Mutex
	of map[string]map[drift.Object]bool // by policy
}

// Record records a write to a Service, for the policies whose entries the write removed from
// the Service's record.
func (r *Releases) Record(object drift.Object, before, after state.Record, policies []plan.Policy) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, entry := range before {
		policy := plan.FindPolicy(policies, entry.Policy)
		if policy == nil || !policy.RollsBack() || after.MentionsPolicy(entry.Policy) {
			continue
		}
		if r.of == nil {
			r.of = map[string]map[drift.Object]bool{}
		}
		if r.of[policy.Name] == nil {
			r.of[policy.Name] = map[drift.Object]bool{}
		}
		if len(r.of[policy.Name]) < maxReleases {
			r.of[policy.Name][object] = true
		}
	}
}

// Has tells whether the object was restored for the policy.
func (r *Releases) Has(policy string, object drift.Object) bool {
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.of[policy][object]
}

// Forget drops the memory of a policy that writes again, or is gone.
func (r *Releases) Forget(policy string) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.of, policy)
}
