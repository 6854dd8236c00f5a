// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"maps"
	"slices"

	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// Outcome contains the findings about a shared object and the writes to make.
type Outcome struct {
	// Findings are the differences, sorted by field.
	Findings []Finding
	// Set maps the fields to write to their values; nil removes the field. A field with the
	// claimed value is written if the operator does not own the field: other managers of the
	// field then get a conflict on changing the value.
	Set map[string]*string
	// Record is the record after the write. If only the record changes, the operator takes over
	// a field with the claimed value, or releases a field with a changed value.
	Record state.Record
	// Unrecorded takes the place of Record on an object without room for a record.
	Unrecorded state.Record
	// Remember is the operator's memory after the write: the record, and the lost entries of
	// fields declared by another manager.
	Remember state.Record
	// Kept are the released fields that stay unchanged because another manager holds or
	// declares the field as well.
	Kept []Finding
	// Restored are the released fields with a restored original.
	Restored []Finding
	// restoring are the record entries of restored fields.
	restoring state.Record
	// Replaced are the findings about distrusted records.
	Replaced []Finding
	// Released maps fields to policies that wrote the field, do not claim the field any more,
	// and are not being rolled back: the spec or the object's labels have changed.
	Released map[string]*plan.Policy
}

// KeepField leaves a released field as it is.
func (o *Outcome) KeepField(field string, before state.Record) {
	delete(o.Set, field)
	o.Restored = slices.DeleteFunc(o.Restored, func(f Finding) bool { return f.Field == field })
	o.Record[field] = before[field]
	o.Remember[field] = before[field]
}

// WithoutRestoring returns the outcome that abandons restoring fields for some policies:
// the fields stay unchanged, without a record. Fields of other policies stay on record and
// are restored later.
func (o Outcome) WithoutRestoring(given func(policy string) bool) Outcome {
	o.Set, o.Remember = maps.Clone(o.Set), maps.Clone(o.Remember)
	on := &o.Record
	if o.Unrecorded != nil {
		on = &o.Unrecorded
	}
	*on = maps.Clone(*on)
	for _, f := range o.Restored {
		delete(o.Set, f.Field)
		if !given(f.Policy) {
			(*on)[f.Field], o.Remember[f.Field] = o.restoring[f.Field], o.restoring[f.Field]
		}
	}
	o.Restored, o.restoring = nil, nil
	return o
}

// NeedsWrite tells whether the object is to be written.
func (o Outcome) NeedsWrite(before state.Record) bool {
	return len(o.Set) > 0 || !SameRecord(before, o.Record)
}

// SameRecord tells whether two records have equal entries.
func SameRecord(a, b state.Record) bool {
	return maps.EqualFunc(a, b, func(a, b state.RecordEntry) bool {
		return a.Policy == b.Policy && a.Applied == b.Applied && equalValues(a.Original, b.Original)
	})
}

// ConcernedPolicies returns the policies for which the object is written: the policies of
// findings, and the existing policies with entries in the old or new record. A record may have
// been forged, so a policy that does not exist is left out.
func (o Outcome) ConcernedPolicies(before state.Record, policies []plan.Policy) []string {
	names := map[string]bool{}
	for _, finding := range o.Findings {
		names[finding.Policy] = true
	}
	for _, record := range []state.Record{before, o.Record} {
		for _, entry := range record {
			if plan.FindPolicy(policies, entry.Policy) != nil {
				names[entry.Policy] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}
