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
	if len(record) == 0 {
		delete(h.done, object)
		if p := h.objects[object]; p != nil {
			maps.DeleteFunc(p.rows, func(_ rowKey, r *row) bool { return !r.open })
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
	h.done[object] = done
}

// Writes is all that a comparison of an object reads of the History: the remembered writes
// to the object, and whether the last write failed.
type Writes struct {
	memory writeMemory
	failed bool
}

// RememberedWrites returns what a comparison of an object reads of the History.
func (h *History) RememberedWrites(object Object) Writes {
	failed := h.LastWriteFailed(object)
	h.mu.Lock()
	defer h.mu.Unlock()
	return Writes{h.done[object], failed}
}

// Equal tells whether the operator remembers the same.
func (w Writes) Equal(other Writes) bool {
	return w.failed == other.failed && w.memory.uid == other.memory.uid && slices.Equal(w.memory.fields, other.memory.fields)
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
		done.fields = slices.DeleteFunc(slices.Clone(done.fields), of) // reports keep the fields in their Writes
		if h.done[object] = done; len(done.fields) == 0 {
			delete(h.done, object)
		}
	}
}
