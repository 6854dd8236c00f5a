// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"maps"
	"slices"
	"unique"

	"k8s.io/apimachinery/pkg/types"

	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// writeMemory is the memory of the operator's writes to a shared object, beside the object's own
// record, because a writer that replaces the object removes the record. Many objects have
// equal memories, so equal memories share space.
type writeMemory struct {
	uid    types.UID
	fields []unique.Handle[rememberedWrite]
}

// rememberedWrite is one entry of a record, comparable by value.
type rememberedWrite struct {
	field, policy, applied, original string
	wasSet                           bool // original is a value
}

// RememberWrites replaces the memory of the operator's writes to an object. After a restart the
// memory is empty, and the records decide. An object without writes has no contested
// fields.
func (h *History) RememberWrites(object Object, uid types.UID, record state.Record) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before, known := h.done[object]
	if len(record) == 0 {
		if known {
			h.touch(object)
			delete(h.done, object)
		}
		h.forgetUnwritten(object)
		if p := h.objects.get(object); p != nil {
			maps.DeleteFunc(p.contests, func(_ contestKey, r *contest) bool { return !r.open })
		}
		return
	}
	done := writeMemory{uid: uid, fields: make([]unique.Handle[rememberedWrite], 0, len(record))}
	for _, field := range slices.Sorted(maps.Keys(record)) {
		entry := record[field]
		d := rememberedWrite{field: field, policy: entry.Policy, applied: entry.Applied}
		if entry.Original != nil {
			d.original, d.wasSet = *entry.Original, true
		}
		done.fields = append(done.fields, unique.Make(d))
	}
	if known && before.uid == uid && slices.Equal(before.fields, done.fields) {
		return
	}
	h.touch(object)
	h.done[object] = done
}

// touch notes that something changes that a comparison of an object reads.
func (h *History) touch(object Object) { h.touched[object] = true }

// TakeTouched returns the objects of which, since the last call, the remembered or the
// unwritten fields have changed. A comparison of other objects reads the same of
// the History as before.
func (h *History) TakeTouched() map[Object]bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	touched := h.touched
	h.touched = map[Object]bool{}
	return touched
}

// RecallWrites returns a lookup of the operator's remembered writes to an object, by field.
// Memory of an earlier object with the same name does not count.
func (h *History) RecallWrites(object Object, uid types.UID) func(field string) (state.RecordEntry, bool) {
	return func(field string) (state.RecordEntry, bool) {
		h.mu.Lock()
		defer h.mu.Unlock()
		done, known := h.done[object]
		if !known || done.uid != uid {
			return state.RecordEntry{}, false
		}
		for _, handle := range done.fields {
			if d := handle.Value(); d.field == field {
				return d.recordEntry(), true
			}
		}
		return state.RecordEntry{}, false
	}
}

func (d rememberedWrite) recordEntry() state.RecordEntry {
	entry := state.RecordEntry{Policy: d.policy, Applied: d.applied}
	if d.wasSet {
		entry.Original = &d.original
	}
	return entry
}

func (h *History) forgetWrites(policy string) {
	of := func(d unique.Handle[rememberedWrite]) bool { return d.Value().policy == policy }
	for object, done := range h.done {
		if !slices.ContainsFunc(done.fields, of) {
			continue
		}
		h.touch(object)
		done.fields = slices.DeleteFunc(done.fields, of)
		if h.done[object] = done; len(done.fields) == 0 {
			delete(h.done, object)
		}
	}
}
