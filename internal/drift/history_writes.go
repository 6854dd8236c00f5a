// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"maps"
	"slices"
	"time"

	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// maxFailure is how much of an error is remembered, in bytes: servers, and webhooks,
// answer what they like.
const maxFailure = 512

// unseenFor is how long the cache may go on showing an object as it was before
// a write, until it is written again.
const unseenFor = time.Second

// Failed takes note that writing an object for some policies failed.
func (h *History) Failed(object Object, policies []string, err error, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.past(object)
	if len(p.failures) == 0 {
		p.failing = now
	}
	for _, policy := range policies {
		p.failures[policy] = wording.OneLine(err.Error(), maxFailure)
	}
}

// FailingFor returns for how long writing the object has failed without one success; 0 if
// it does not fail.
func (h *History) FailingFor(object Object, now time.Time) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.objects[object]
	if p == nil || len(p.failures) == 0 {
		return 0
	}
	return now.Sub(p.failing)
}

// Wrote takes note that an object was written for some policies, by a decision
// that was made on this version of it.
func (h *History) Wrote(object Object, version string, policies []string, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.past(object)
	p.written, p.policies, p.lastWrite, p.conflicts = &version, policies, now, 0
}

// Unseen returns how long to wait, at most, for the cache to show what was
// written: nothing, unless this version of the object is the one that the last
// write was decided on. Deciding on it again would be the same write again.
func (h *History) Unseen(object Object, version string, now time.Time) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.objects[object]
	if p == nil || p.written == nil {
		return 0
	}
	if *p.written == version {
		return max(0, p.lastWrite.Add(unseenFor).Sub(now))
	}
	p.written = nil
	return 0
}

// Behind says whether the cache still shows the version of an object that its
// last write was decided on. What differs in it was told then, and is no drift
// since.
func (h *History) Behind(object Object, version string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.objects[object]
	return p != nil && p.written != nil && *p.written == version
}

// Conflicted takes note that a write was refused because the object had changed
// meanwhile, and returns how often that has been so in a row.
func (h *History) Conflicted(object Object) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.past(object)
	p.conflicts++
	return p.conflicts
}

// Settled takes note that there is nothing to write to an object any more, and
// returns the policies for which it could not be written before.
func (h *History) Settled(object Object, now time.Time) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.objects[object]
	if p == nil {
		return nil
	}
	relieved := slices.Sorted(maps.Keys(p.failures))
	p.settle()
	h.sweep(object, now)
	return relieved
}

func (p *past) settle() {
	clear(p.failures)
	p.written, p.policies, p.conflicts = nil, nil, 0
}

// Differing takes note that, of all objects of a kind, only these differ from
// what a policy declares. The others are settled.
func (h *History) Differing(policy, kind string, objects []Object, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for object, p := range h.objects {
		if object.Kind != kind || slices.Contains(objects, object) || !p.concerns(policy) {
			continue
		}
		p.close(nil)
		p.settle()
		h.sweep(object, now)
	}
}

func (p *past) concerns(policy string) bool {
	_, failed := p.failures[policy]
	if failed || slices.Contains(p.policies, policy) {
		return true
	}
	for _, r := range p.rows {
		if r.finding.Policy == policy {
			return true
		}
	}
	return false
}
