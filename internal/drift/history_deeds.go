// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"maps"
	"slices"
	"unique"

	"k8s.io/apimachinery/pkg/types"

	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// deeds are the operator's writes to a shared object, remembered beside the object's own
// record, because a writer that replaces the object removes the record. Many objects have
// equal deeds, so equal deeds share memory.
type deeds struct {
	uid    types.UID
	fields []unique.Handle[deed]
}

// deed is one entry of a record, comparable by value.
type deed struct {
	field, policy, applied, original string
	wasSet                           bool // original is a value
}

// Remember replaces the memory of the operator's writes to an object. After a restart the
// memory is empty, and the records decide. An object without writes has no contested
// fields.
func (h *History) Remember(object Object, uid types.UID, record state.Record) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(record) == 0 {
		delete(h.done, object)
		if p := h.objects[object]; p != nil {
			maps.DeleteFunc(p.rows, func(_ rowKey, r *row) bool { return !r.open })
		}
		return
	}
	done := deeds{uid: uid, fields: make([]unique.Handle[deed], 0, len(record))}
	for field, entry := range record {
		d := deed{field: field, policy: entry.Policy, applied: entry.Applied}
		if entry.Original != nil {
			d.original, d.wasSet = *entry.Original, true
		}
		done.fields = append(done.fields, unique.Make(d))
	}
	h.done[object] = done
}

// Recall returns a lookup of the operator's remembered writes to an object, by field.
// Memory of an earlier object with the same name does not count.
func (h *History) Recall(object Object, uid types.UID) func(field string) (state.RecordEntry, bool) {
	return func(field string) (state.RecordEntry, bool) {
		h.mu.Lock()
		defer h.mu.Unlock()
		done, known := h.done[object]
		if !known || done.uid != uid {
			return state.RecordEntry{}, false
		}
		for _, handle := range done.fields {
			if d := handle.Value(); d.field == field {
				return d.entry(), true
			}
		}
		return state.RecordEntry{}, false
	}
}

func (d deed) entry() state.RecordEntry {
	entry := state.RecordEntry{Policy: d.policy, Applied: d.applied}
	if d.wasSet {
		entry.Original = &d.original
	}
	return entry
}

func (h *History) forgetDeeds(policy string) {
	for object, done := range h.done {
		done.fields = slices.DeleteFunc(done.fields, func(d unique.Handle[deed]) bool { return d.Value().policy == policy })
		if h.done[object] = done; len(done.fields) == 0 {
			delete(h.done, object)
		}
	}
}
