// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"maps"
	"slices"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// Shared is an object that belongs to others, of which policies claim single
// fields: a Node with its taints, a Service with its traffic policies.
type Shared struct {
	Object Object
	// Live returns the value of a field; nil if it is not set.
	Live func(field string) *string
	// By returns who set the field, other than the operator.
	By func(field string) Manager
	// Owned says whether the operator is among the field's managers; nil where
	// fields have none of their own.
	Owned func(field string) bool
	// Declared returns what a client-side apply said of the field; nil where
	// nothing is known of that.
	Declared func(field string) Declaration
	// Default returns the value that the field has if nobody declares it; nil
	// where there is none.
	Default func(field string) string
	// Record is what the operator did to the object before.
	Record state.Record
	// Unreadable says why the record that the object carries is not believed; nil
	// if it is.
	Unreadable error
	// NoRoom says that the object has no room for a record: what is done to it is
	// remembered only as long as the operator runs.
	NoRoom bool
	// Remembered returns what the operator remembers of that, which counts where
	// the record has been lost: whoever replaces the object takes the record away
	// with the field. Nil where nothing is remembered.
	Remembered func(field string) (state.RecordEntry, bool)
}

// wrote returns what the operator did to a field before, as far as that is known.
func (s Shared) wrote(field string) (entry state.RecordEntry, known bool) {
	if entry, known = s.Record[field]; known || s.Remembered == nil {
		return entry, known
	}
	return s.Remembered(field)
}

// remembered returns what is remembered of an object that has no room for a record.
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

// Mentions says whether something was done to the object for the policy, as far as that
// is known.
func (s Shared) Mentions(policy string) bool {
	return s.Record.MentionsPolicy(policy) || s.NoRoom && s.remembered().MentionsPolicy(policy)
}

// Outcome is what there is to say and to do about a shared object.
type Outcome struct {
	// Findings are the differences, sorted by field.
	Findings []Finding
	// Set are the fields to write with their values; nil removes the field. One
	// that has its value already is written if the operator does not own it:
	// others who declare it then learn that they are not alone.
	Set map[string]*string
	// Record is what the record will be. Where it is the only thing that
	// changes, a field that already had the right value is being adopted, or
	// one that someone else has changed is being let go.
	Record state.Record
	// Unrecorded is what is done to an object that has no room for a record.
	Unrecorded state.Record
	// Remember is what the operator is to remember of what it did, once that is
	// written: the record, and of fields that lost theirs to whoever declares them
	// what it said.
	Remember state.Record
	// Kept are fields that were released and stay as they are, since somebody else
	// holds or declares them as well.
	Kept []Finding
	// Restored are fields that were released and get back what was there before.
	Restored []Finding
	// restoring is what their records say.
	restoring state.Record
	// Replaced is what there is to tell of a record that is not believed.
	Replaced []Finding
	// Released are the policies that do not claim a field that they once wrote,
	// though they are not being taken back: the spec, or the object's labels,
	// changed. By the field.
	Released map[string]*plan.Policy
}

// Keep leaves a field as it is that was released.
func (o *Outcome) Keep(field string, before state.Record) {
	delete(o.Set, field)
	o.Restored = slices.DeleteFunc(o.Restored, func(f Finding) bool { return f.Field == field })
	o.Record[field] = before[field]
	o.Remember[field] = before[field]
}

// WithoutRestoring returns the outcome that gives up restoring fields for some policies:
// they stay as they are, and nothing is recorded of them any more. What was to be
// restored for other policies waits, on record.
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

// Changed says whether the object is to be written.
func (o Outcome) Changed(before state.Record) bool {
	return len(o.Set) > 0 || !SameRecord(before, o.Record)
}

// SameRecord says whether two records say the same.
func SameRecord(a, b state.Record) bool {
	return maps.EqualFunc(a, b, func(a, b state.RecordEntry) bool {
		return a.Policy == b.Policy && a.Applied == b.Applied && equal(a.Original, b.Original)
	})
}

// Policies returns for whom the object is written: of those that exist, those
// whose findings there are, and those whose record changes. What else a record
// names was perhaps made up.
func (o Outcome) Policies(before state.Record, policies []plan.Policy) []string {
	names := map[string]bool{}
	for _, finding := range o.Findings {
		names[finding.Policy] = true
	}
	for _, record := range []state.Record{before, o.Record} {
		for _, entry := range record {
			if plan.Find(policies, entry.Policy) != nil {
				names[entry.Policy] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// Fields compares a shared object with the claims on it.
//
// A claimed field that differs is drift when the record says that it had been
// written as claimed before, or when the policy only audits; it is pending when
// it never was. A field that was written and that no policy claims any more is
// given back: the recorded original returns, unless someone else has changed
// the field since.
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
		// What a policy that is being deleted wrote is given back also where
		// another claims it and can not write it now: it would wait for ever.
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

// remember keeps, beside the record, what is remembered of fields that have lost
// theirs.
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

// tellOfRecord tells each policy whose record is written that the one before was not
// believed, or said something else than the operator remembers, and leaves the record out
// where there is no room for it.
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

// original returns what was there before the operator wrote the field. What it remembers
// goes before a record that says something else: others may be able to write that, and
// not the field. Where the record was lost and the field has another value than it had
// been given, that one is what others have put there since.
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

// misremembered says whether the record tells another original than the operator
// remembers. It writes both at once: somebody else has written the record.
func (s Shared) misremembered(field string) bool {
	entry, recorded := s.Record[field]
	if !recorded || s.Remembered == nil {
		return false
	}
	memory, remembers := s.Remembered(field)
	return remembers && !equal(entry.Original, memory.Original)
}

// letGo ends what was written for an earlier claim, which is not wanted any
// more, where somebody else declares the field: it is theirs alone.
func (o *Outcome) letGo(finding Finding, claim plan.Claim, before state.RecordEntry) {
	if finding.State == v1alpha1.StateConflicted && before.Applied != claim.Want {
		delete(o.Record, claim.Field)
	}
}

func (s Shared) owns(field string) bool { return s.Owned == nil || s.Owned(field) }

// writes says whether a difference in this state is one that a write ends.
func writes(is v1alpha1.DriftState) bool {
	return is == v1alpha1.StateDrifted || is == v1alpha1.StatePending
}

// compare returns the difference between a claim and what is there, if any.
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
		return // nobody is there to decide, or nothing may be written now
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

// alsoHeldBy returns who holds or declares the value of a field beside the
// operator: to release the field changes nothing then, and to write the original
// would be to change what is theirs. Nobody has a list of taints beside others:
// there only a declaration counts.
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
