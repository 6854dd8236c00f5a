// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"slices"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// The record of a Node is stored before the Node is written. If the write of the Node fails,
// the record contains values that were never written: their absence is neither drift nor the
// decision of another writer. The memory of such fields ends when the field was seen as
// declared, or was written and then seen in any state.

// RecordUnwritten records that the first write of fields failed: of the findings, those of
// which no earlier write is known.
func (h *History) RecordUnwritten(object Object, findings []Finding) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range findings {
		if f.State != v1alpha1.StatePending {
			continue
		}
		p := h.pastOf(object)
		if p.unwritten == nil {
			p.unwritten = map[string]bool{}
		}
		if _, known := p.unwritten[f.Field]; !known {
			h.touch(object)
		}
		p.unwritten[f.Field] = false
	}
}

// RecordWritten records that the fields of the findings were written.
func (h *History) RecordWritten(object Object, findings []Finding) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.objects.get(object)
	if p == nil {
		return
	}
	for _, f := range findings {
		if _, known := p.unwritten[f.Field]; known && endsByWrite(f.State) {
			p.unwritten[f.Field] = true
		}
	}
}

// RecordSeen records that the cache shows the last write of an object: all fields without a
// finding are as declared.
func (h *History) RecordSeen(object Object, findings []Finding) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.objects.get(object)
	if p == nil {
		return
	}
	for field, written := range p.unwritten {
		differs := slices.ContainsFunc(findings, func(f Finding) bool { return f.Field == field })
		if written || !differs {
			h.touch(object)
			delete(p.unwritten, field)
		}
	}
}

// UnwrittenFields returns a lookup of the fields of an object of which the first write has
// failed so far.
func (h *History) UnwrittenFields(object Object) func(field string) bool {
	return func(field string) bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		p := h.objects.get(object)
		if p == nil {
			return false
		}
		_, unwritten := p.unwritten[field]
		return unwritten
	}
}

// forgetUnwritten drops the memory of an object for which nothing is on record.
func (h *History) forgetUnwritten(object Object) {
	if p := h.objects.get(object); p != nil && len(p.unwritten) > 0 {
		h.touch(object)
		p.unwritten = nil
	}
}
