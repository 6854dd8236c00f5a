// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"maps"
	"slices"
	"time"

	"github.com/cpnp-dev/cpnp-operator/internal/timing"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// maxFailure bounds a remembered error, in bytes, because servers and webhooks may answer
// with a text of any length.
const maxFailure = 512

// RecordFailure records a failed write of an object for some policies.
func (h *History) RecordFailure(object Object, policies []string, err error, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.pastOf(object)
	if len(p.failures) == 0 {
		p.failing = now
	}
	for _, policy := range policies {
		p.failures[policy] = wording.OneLine(err.Error(), maxFailure)
	}
}

// FailingFor returns for how long every write of the object has failed; 0 if the last write
// succeeded.
func (h *History) FailingFor(object Object, now time.Time) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.objects.get(object)
	if p == nil || len(p.failures) == 0 {
		return 0
	}
	return now.Sub(p.failing)
}

// RecordWrite records a write of an object for some policies. version is the version of the
// object behind the decision.
func (h *History) RecordWrite(object Object, version string, policies []string, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.pastOf(object)
	p.written, p.policies, p.lastWrite, p.conflicts = &version, policies, now, 0
}

// UnseenFor returns how long to wait for the cache to show the last write. The wait is 0
// unless the cache still shows the version behind the last write: a decision on that
// version would only repeat the write.
func (h *History) UnseenFor(object Object, version string, now time.Time) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.objects.get(object)
	if p == nil || p.written == nil {
		return 0
	}
	if *p.written == version {
		return max(0, p.lastWrite.Add(timing.WriteVisible).Sub(now))
	}
	p.written = nil
	return 0
}

// IsStale tells whether the cache still shows the version behind the last write. The
// version's differences were reported before the write, and are no new drift.
func (h *History) IsStale(object Object, version string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.objects.get(object)
	return p != nil && p.written != nil && *p.written == version
}

// RecordConflict records a write that the API server refused because the object had changed,
// and returns the number of such refusals in a row.
func (h *History) RecordConflict(object Object) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.pastOf(object)
	p.conflicts++
	return p.conflicts
}

// RecordSettled records that an object needs no write any more, and returns the policies of
// earlier failures.
func (h *History) RecordSettled(object Object, now time.Time) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.objects.get(object)
	if p == nil {
		return nil
	}
	relieved := slices.Sorted(maps.Keys(p.failures))
	p.clearWrites()
	h.sweepObject(object, now)
	return relieved
}

func (p *past) clearWrites() {
	clear(p.failures)
	p.written, p.policies, p.conflicts = nil, nil, 0
}

// SettleOthers records that, of all objects of a kind, only the given objects differ from a
// policy's declaration. All other objects are settled.
func (h *History) SettleOthers(policy, kind string, objects []Object, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for object, p := range h.objects[kind] {
		if slices.Contains(objects, object) || !p.concernsPolicy(policy) {
			continue
		}
		p.closeContests(nil)
		p.clearWrites()
		h.sweepObject(object, now)
	}
}

func (p *past) concernsPolicy(policy string) bool {
	_, failed := p.failures[policy]
	if failed || slices.Contains(p.policies, policy) {
		return true
	}
	for _, r := range p.contests {
		if r.finding.Policy == policy {
			return true
		}
	}
	return false
}
