// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"maps"
	"slices"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// Shared is a foreign object with single fields claimed by policies: a Node with taints, or
// a Service with traffic policies.
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
	// ForgeableSigns tells that the signs of a declaration may come from a writer without the
	// right to the fields: a kubelet may write annotations and managers of the Node, but not
	// the taints.
	ForgeableSigns bool
	// Unwritten tells that the operator's first write of the claimed value has failed so far,
	// although the record may be stored. A missing value is then neither drift nor a decision
	// of another writer. Nil without a memory.
	Unwritten func(field string) bool
	// Default returns the field's value without any declaration; nil if there is none.
	Default func(field string) string
	// Record contains the operator's earlier writes to the object.
	Record state.Record
	// Unreadable is the reason for distrusting the object's record; nil if the record is valid.
	Unreadable error
	// NoRoom tells that the object has no room for a record. The operator remembers writes to
	// such an object only until the next restart.
	NoRoom bool
	// Remembered returns the operator's memory of an earlier write to a field; nil without a
	// memory. The memory counts if the record has been lost, because a writer that replaces the
	// object removes the record together with the field.
	Remembered func(field string) (state.RecordEntry, bool)
}

// earlierWrite returns the operator's earlier write to a field, if known.
func (s Shared) earlierWrite(field string) (entry state.RecordEntry, known bool) {
	if entry, known = s.Record[field]; known || s.Remembered == nil {
		return entry, known
	}
	return s.Remembered(field)
}

// wroteFor tells whether the operator has written the claimed value for the claim's policy.
func (s Shared) wroteFor(claim plan.Claim) bool {
	entry, known := s.earlierWrite(claim.Field)
	unwritten := s.Unwritten != nil && s.Unwritten(claim.Field)
	return known && !unwritten && entry.Applied == claim.Want && entry.Policy == claim.Policy.Name
}

// rememberedRecord returns the memory of an object without room for a record.
func (s Shared) rememberedRecord() state.Record {
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

// MentionsPolicy tells whether the object was written for the policy, if known.
func (s Shared) MentionsPolicy(policy string) bool {
	return s.Record.MentionsPolicy(policy) || s.NoRoom && s.rememberedRecord().MentionsPolicy(policy)
}

// CompareFields compares a shared object with the claims on its fields.
//
// A differing field is drift if the record shows an earlier write of the claimed value, or
// if the policy only audits. The field is pending if the claimed value was never written. A
// written field without a claim is released: the operator restores the recorded original,
// unless another manager has changed the field since.
func CompareFields(object Shared, claims []plan.Claim, policies []plan.Policy) Outcome {
	if object.NoRoom {
		object.Record = object.rememberedRecord()
	}
	out := Outcome{Set: map[string]*string{}, Record: state.Record{}, Released: map[string]*plan.Policy{}}
	maps.Copy(out.Record, object.Record)
	claimed := map[string]bool{}
	for _, claim := range claims {
		claimed[claim.Field] = true
		out.addClaim(object, claim)
	}
	for _, field := range slices.Sorted(maps.Keys(object.Record)) {
		// A field written for a policy that is being rolled back is released even if another
		// policy claims the field. The other policy may be unable to write now, and the
		// rollback would wait forever.
		policy := plan.FindPolicy(policies, out.Record[field].Policy)
		if !claimed[field] || policy != nil && policy.RollsBack() {
			out.releaseField(object, field, policies)
		}
	}
	out.rememberLost(object, claims)
	out.reportReplacedRecord(object, claims)
	slices.SortFunc(out.Findings, CompareFindings)
	return out
}

// rememberLost adds the lost entries of fields to the record, to be remembered.
func (o *Outcome) rememberLost(object Shared, claims []plan.Claim) {
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

// reportReplacedRecord reports a distrusted record, or a record in contradiction to the
// operator's memory, once to each policy whose entry is rewritten. An object without room gets
// no record.
func (o *Outcome) reportReplacedRecord(object Shared, claims []plan.Claim) {
	told := map[string]bool{}
	for _, claim := range claims {
		_, recorded := o.Record[claim.Field]
		replaced := Finding{Policy: claim.Policy.Name, Object: object.Object, Field: claim.Field}
		switch {
		case !recorded || told[claim.Policy.Name]:
			continue
		case object.Unreadable != nil:
			replaced.Message = object.Unreadable.Error()
		case object.contradictsMemory(claim.Field):
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

func (o *Outcome) addClaim(object Shared, claim plan.Claim) {
	live := object.Live(claim.Field)
	entry := object.Record[claim.Field]
	finding, differs := compareClaim(object, claim, live)
	if differs {
		o.Findings = append(o.Findings, finding)
	} else if finding, dropped := droppingFinding(object, claim); dropped {
		o.Findings = append(o.Findings, finding)
	}
	switch {
	case claim.NotApplicable != "" || !claim.Policy.IsWritable():
		return
	case differs && !endsByWrite(finding.State):
		o.dropConflictedEntry(finding, claim, entry)
		return
	case differs || !object.ownsField(claim.Field):
		o.Set[claim.Field] = &claim.Want
	}
	o.Record[claim.Field] = state.RecordEntry{
		Policy: claim.Policy.Name, Applied: claim.Want, Original: object.originalOf(claim.Field, live),
	}
}

// originalOf returns the value from before the operator's first write. The operator's memory
// has precedence over a different record, because some writers may change the record but
// not the field. If the record was lost and the field has a new value, another manager has
// set the new value since, and the new value is the original.
func (s Shared) originalOf(field string, live *string) *string {
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

// contradictsMemory tells whether the record and the operator's memory have different
// originals. The operator always writes both together, so another writer has changed the
// record.
func (s Shared) contradictsMemory(field string) bool {
	entry, recorded := s.Record[field]
	if !recorded || s.Remembered == nil {
		return false
	}
	memory, remembers := s.Remembered(field)
	return remembers && !equalValues(entry.Original, memory.Original)
}

// dropConflictedEntry removes the record of an earlier claim with another value if another manager
// declares the field. The field then belongs to the other manager alone.
func (o *Outcome) dropConflictedEntry(finding Finding, claim plan.Claim, before state.RecordEntry) {
	if finding.State == v1alpha1.StateConflicted && before.Applied != claim.Want {
		delete(o.Record, claim.Field)
	}
}

func (s Shared) ownsField(field string) bool { return s.Owned == nil || s.Owned(field) }

// endsByWrite tells whether the operator ends a difference in this state by a write.
func endsByWrite(is v1alpha1.DriftState) bool {
	return is == v1alpha1.StateDrifted || is == v1alpha1.StatePending
}

// compareClaim returns the difference between a claim and the live value, if any.
func compareClaim(object Shared, claim plan.Claim, live *string) (Finding, bool) {
	finding := Finding{
		Policy: claim.Policy.Name, Object: object.Object, Field: claim.Field,
		Cause: v1alpha1.CauseModified, Expected: claim.Want, Unrepaired: !claim.Policy.Enforces(),
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
	entry, wrote := object.earlierWrite(claim.Field)
	finding.By = object.declaringManager(claim, live, wrote && (live == nil || *live != entry.Applied))
	finding.State = stateOf(claim, finding.By, object.wroteFor(claim))
	switch finding.State {
	case v1alpha1.StateHeld:
		finding.Message = claim.HoldReason
	case v1alpha1.StateConflicted:
		finding.Message = object.describeConflict(claim, finding.By, live)
	}
	return finding, true
}

func stateOf(claim plan.Claim, by Manager, applied bool) v1alpha1.DriftState {
	switch {
	case claim.HoldReason != "":
		return v1alpha1.StateHeld
	case by.Declares && !claim.Override:
		return v1alpha1.StateConflicted
	case applied || claim.Policy.Spec.Mode == v1alpha1.ModeAudit:
		return v1alpha1.StateDrifted
	default:
		return v1alpha1.StatePending
	}
}

func (o *Outcome) releaseField(object Shared, field string, policies []plan.Policy) {
	entry := object.Record[field]
	policy := plan.FindPolicy(policies, entry.Policy)
	if policy == nil || !policy.IsWritable() && !policy.RollsBack() {
		return // no policy decides about the field, or the policy may not write now
	}
	if !policy.RollsBack() {
		o.Released[field] = policy
	}
	delete(o.Record, field)
	live := object.Live(field)
	entry.Original = object.originalOf(field, live)
	if !object.isUntouched(field, live, entry) || equalValues(live, entry.Original) {
		return
	}
	if by := object.alsoHeldBy(field, *live); by.Name != "" {
		o.Kept = append(o.Kept, Finding{Policy: entry.Policy, Object: object.Object, Field: field, Actual: *live, By: by})
		return
	}
	o.Set[field] = entry.Original
	o.Restored = append(o.Restored, restoredFinding(object, field, entry))
	if o.restoring == nil {
		o.restoring = state.Record{}
	}
	o.restoring[field] = entry
}

// isUntouched tells whether the live value is one that the operator has written: that of the
// record, or the last written one, which the record does not have any more if the write of a
// changed value has failed.
func (s Shared) isUntouched(field string, live *string, entry state.RecordEntry) bool {
	if live == nil || *live == entry.Applied {
		return live != nil
	}
	if s.Remembered == nil {
		return false
	}
	memory, remembers := s.Remembered(field)
	return remembers && memory.Policy == entry.Policy && *live == memory.Applied
}

func restoredFinding(object Shared, field string, entry state.RecordEntry) Finding {
	f := Finding{Policy: entry.Policy, Object: object.Object, Field: field, Actual: entry.Applied}
	if entry.Original != nil {
		f.Expected = *entry.Original
	}
	return f
}

// alsoHeldBy returns the manager that holds or declares the same value beside the operator.
// A release would then have no effect, and restoring the original would change the other
// manager's field. A list of taints has a single manager, so for taints only a declaration
// counts, or a list last written by a tool.
func (s Shared) alsoHeldBy(field, live string) Manager {
	if said := s.declarationOf(field); said.Declares && !said.otherThan(live) {
		return said.By
	}
	if by := s.By(field); by.Declares || by.Tool != "" || s.Owned != nil {
		return by
	}
	return Manager{}
}

func equalValues(a, b *string) bool {
	return a == b || a != nil && b != nil && *a == *b
}
