// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"maps"
	"slices"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// Shared is a foreign object of which policies claim single fields: a Node with its taints,
// or a Service with its traffic policies.
type Shared struct {
	Object Object
	// Live returns the value of a field; nil if unset.
	Live func(field string) *string
	// By returns the manager of the field other than the operator.
	By func(field string) Manager
	// Owned tells whether the operator is among the field's managers; nil if fields have no
	// managers of their own.
	Owned func(field string) bool
	// Declared returns the content of a client-side apply for the field; nil if unknown.
	Declared func(field string) Declaration
	// Default returns the field's value without any declaration; nil if there is none.
	Default func(field string) string
	// Record contains the operator's earlier writes to the object.
	Record state.Record
	// Unreadable is the reason for distrusting the object's record; nil if the record is valid.
	Unreadable error
	// NoRoom tells that the object has no room for a record. The operator remembers its writes
	// to such an object until the next restart only.
	NoRoom bool
	// Remembered returns the operator's memory of an earlier write to a field; nil without a
	// memory. The memory counts if the record has been lost, because a writer that replaces the
	// object removes the record together with the field.
	Remembered func(field string) (state.RecordEntry, bool)
}

// wrote returns the operator's earlier write to a field, if known.
func (s Shared) wrote(field string) (entry state.RecordEntry, known bool) {
	if entry, known = s.Record[field]; known || s.Remembered == nil {
		return entry, known
	}
	return s.Remembered(field)
}

// remembered returns the memory of an object without room for a record.
func (s Shared) remembered() state.Record {
	record := state.Record{}
	for _, field := range plan.TrafficPolicies() {
		if s.Remembered == nil {
			break
		}
		if entry, known := s.Remembered(field); known {
			record[field] = entry
		}
	}
	return record
}

// Mentions tells whether the object was written for the policy, if known.
func (s Shared) Mentions(policy string) bool {
	return s.Record.MentionsPolicy(policy) || s.NoRoom && s.remembered().MentionsPolicy(policy)
}

// Fields compares a shared object with the claims on its fields.
//
// A differing field is drift if the record shows an earlier write of the claimed value, or
// if the policy only audits. The field is pending if the claimed value was never written. A
// written field without a claim is released: the operator restores the recorded original,
// unless another manager has changed the field since.
func Fields(object Shared, claims []plan.Claim, policies []plan.Policy) Outcome {
	if object.NoRoom {
		object.Record = object.remembered()
	}
	out := Outcome{Set: map[string]*string{}, Record: state.Record{}, Released: map[string]*plan.Policy{}}
	maps.Copy(out.Record, object.Record)
	claimed := map[string]bool{}
	for _, claim := range claims {
		claimed[claim.Field] = true
		out.claim(object, claim)
	}
	for _, field := range slices.Sorted(maps.Keys(object.Record)) {
		// A field written for a policy that is being rolled back is released even if another
		// policy claims the field. The other policy may be unable to write now, and the
		// rollback would wait forever.
		policy := plan.Find(policies, out.Record[field].Policy)
		if !claimed[field] || policy != nil && policy.RollsBack() {
			out.release(object, field, policies)
		}
	}
	out.remember(object, claims)
	out.tellOfRecord(object, claims)
	slices.SortFunc(out.Findings, Compare)
	return out
}

// remember adds the lost entries of fields to the record, to be remembered.
func (o *Outcome) remember(object Shared, claims []plan.Claim) {
	o.Remember = o.Record
	if object.Remembered == nil {
		return
	}
	o.Remember = maps.Clone(o.Record)
	for _, claim := range claims {
		if _, recorded := o.Record[claim.Field]; recorded {
			continue
		}
		if entry, known := object.Remembered(claim.Field); known {
			o.Remember[claim.Field] = entry
		}
	}
}

// tellOfRecord reports a distrusted record, or a record that contradicts the operator's
// memory, once to each policy whose entry is rewritten. An object without room for a record
// gets none.
func (o *Outcome) tellOfRecord(object Shared, claims []plan.Claim) {
	told := map[string]bool{}
	for _, claim := range claims {
		_, recorded := o.Record[claim.Field]
		replaced := Finding{Policy: claim.Policy.Name, Object: object.Object, Field: claim.Field}
		switch {
		case !recorded || told[claim.Policy.Name]:
			continue
		case object.Unreadable != nil:
			replaced.Message = object.Unreadable.Error()
		case object.misremembered(claim.Field):
			replaced.Cause = v1alpha1.CauseModified
		default:
			continue
		}
		told[claim.Policy.Name] = true
		o.Replaced = append(o.Replaced, replaced)
	}
	if object.NoRoom {
		o.Record, o.Unrecorded = state.Record{}, o.Record
	}
}

func (o *Outcome) claim(object Shared, claim plan.Claim) {
	live := object.Live(claim.Field)
	entry := object.Record[claim.Field]
	finding, differs := compare(object, claim, live)
	if differs {
		o.Findings = append(o.Findings, finding)
	} else if finding, dropped := dropping(object, claim); dropped {
		o.Findings = append(o.Findings, finding)
	}
	switch {
	case claim.NotApplicable != "" || !claim.Policy.Writable():
		return
	case differs && !writes(finding.State):
		o.letGo(finding, claim, entry)
		return
	case differs || !object.owns(claim.Field):
		o.Set[claim.Field] = &claim.Want
	}
	o.Record[claim.Field] = state.RecordEntry{
		Policy: claim.Policy.Name, Applied: claim.Want, Original: object.original(claim.Field, live),
	}
}

// original returns the value from before the operator's first write. The operator's memory
// has precedence over a different record, because some writers may change the record but
// not the field. If the record was lost and the field has a new value, another manager has
// set the new value since, and the new value is the original.
func (s Shared) original(field string, live *string) *string {
	entry, recorded := s.Record[field]
	var memory state.RecordEntry
	remembers := false
	if s.Remembered != nil {
		memory, remembers = s.Remembered(field)
	}
	switch {
	case remembers && (recorded || live != nil && *live == memory.Applied):
		return memory.Original
	case recorded:
		return entry.Original
	}
	return live
}

// misremembered tells whether the record and the operator's memory have different
// originals. The operator always writes both together, so another writer has changed the
// record.
func (s Shared) misremembered(field string) bool {
	entry, recorded := s.Record[field]
	if !recorded || s.Remembered == nil {
		return false
	}
	memory, remembers := s.Remembered(field)
	return remembers && !equal(entry.Original, memory.Original)
}

// letGo removes the record of an earlier claim with another value if another manager
// declares the field. The field then belongs to the other manager alone.
func (o *Outcome) letGo(finding Finding, claim plan.Claim, before state.RecordEntry) {
	if finding.State == v1alpha1.StateConflicted && before.Applied != claim.Want {
		delete(o.Record, claim.Field)
	}
}

func (s Shared) owns(field string) bool { return s.Owned == nil || s.Owned(field) }

// writes tells whether the operator ends a difference in this state by a write.
func writes(is v1alpha1.DriftState) bool {
	return is == v1alpha1.StateDrifted || is == v1alpha1.StatePending
}

// compare returns the difference between a claim and the live value, if any.
func compare(object Shared, claim plan.Claim, live *string) (Finding, bool) {
	finding := Finding{
		Policy: claim.Policy.Name, Object: object.Object, Field: claim.Field,
		Cause: v1alpha1.CauseModified, Expected: claim.Want,
	}
	if live != nil {
		finding.Actual = *live
	} else {
		finding.Cause = v1alpha1.CauseMissing
	}
	if claim.NotApplicable != "" {
		finding.State, finding.Message = v1alpha1.StateNotApplicable, claim.NotApplicable
		return finding, true
	}
	if live != nil && *live == claim.Want {
		return Finding{}, false
	}
	entry, wrote := object.wrote(claim.Field)
	finding.By = object.declarer(claim, live, wrote && (live == nil || *live != entry.Applied))
	applied := wrote && entry.Applied == claim.Want && entry.Policy == claim.Policy.Name
	finding.State = judge(claim, finding.By, applied)
	switch finding.State {
	case v1alpha1.StateHeldBack:
		finding.Message = claim.HeldBack
	case v1alpha1.StateConflicted:
		finding.Message = object.conflict(claim, finding.By, live)
	}
	return finding, true
}

func judge(claim plan.Claim, by Manager, applied bool) v1alpha1.DriftState {
	switch {
	case claim.HeldBack != "":
		return v1alpha1.StateHeldBack
	case by.Declares && !claim.Override:
		return v1alpha1.StateConflicted
	case applied || claim.Policy.Spec.Mode == v1alpha1.ModeAudit:
		return v1alpha1.StateDrifted
	default:
		return v1alpha1.StatePending
	}
}

func (o *Outcome) release(object Shared, field string, policies []plan.Policy) {
	entry := object.Record[field]
	policy := plan.Find(policies, entry.Policy)
	if policy == nil || !policy.Writable() && !policy.RollsBack() {
		return // no policy decides about the field, or the policy may not write now
	}
	if !policy.RollsBack() {
		o.Released[field] = policy
	}
	delete(o.Record, field)
	live := object.Live(field)
	entry.Original = object.original(field, live)
	untouched := live != nil && *live == entry.Applied
	if !untouched || equal(live, entry.Original) {
		return
	}
	if by := object.alsoHeldBy(field, *live); by.Name != "" {
		o.Kept = append(o.Kept, Finding{Policy: entry.Policy, Object: object.Object, Field: field, Actual: *live, By: by})
		return
	}
	o.Set[field] = entry.Original
	o.Restored = append(o.Restored, restored(object, field, entry))
	if o.restoring == nil {
		o.restoring = state.Record{}
	}
	o.restoring[field] = entry
}

func restored(object Shared, field string, entry state.RecordEntry) Finding {
	f := Finding{Policy: entry.Policy, Object: object.Object, Field: field, Actual: entry.Applied}
	if entry.Original != nil {
		f.Expected = *entry.Original
	}
	return f
}

// alsoHeldBy returns the manager that holds or declares the same value beside the operator.
// A release would then change nothing, and restoring the original would change the other
// manager's field. A list of taints has a single manager, so for taints only a declaration
// counts.
func (s Shared) alsoHeldBy(field, live string) Manager {
	if said := s.declaration(field); said.Declares && !said.otherThan(live) {
		return said.By
	}
	if by := s.By(field); by.Declares || s.Owned != nil {
		return by
	}
	return Manager{}
}

func equal(a, b *string) bool {
	return a == b || a != nil && b != nil && *a == *b
}
