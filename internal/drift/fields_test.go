// SPDX-License-Identifier: Apache-2.0

package drift_test

import (
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"
	. "github.com/onsi/gomega"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// situation is one field of a shared object, with the claims on the field.
type situation struct {
	// live is the present value; empty for no value.
	live string
	// by is the manager that set the value.
	by drift.Manager
	// record is the record's entry for the field; nil for none.
	record *state.RecordEntry
	// policies exist; the first one makes the claim, if claim is not nil.
	policies []v1alpha1.ControlPlaneNetworkPolicy
	claim    func(*plan.Claim)
	// disowned says that the operator is not among the field's managers.
	disowned bool
}

// result is the expected outcome.
type result struct {
	// state of the finding; empty for no finding.
	state v1alpha1.DriftState
	cause v1alpha1.DriftCause
	// set is the written value: empty for no write, "(removed)" for a removal.
	set string
	// record is the record's entry afterwards.
	record *state.RecordEntry
	// released is the policy whose claim ended.
	released string
}

const removed = "(removed)"

func (s situation) shared() drift.Shared {
	record := state.Record{}
	if s.record != nil {
		record["f"] = *s.record
	}
	return drift.Shared{
		Object: drift.Object{Kind: "Service", Namespace: "shop", Name: "web"},
		Live: func(string) *string {
			if s.live == "" {
				return nil
			}
			return &s.live
		},
		By:     func(string) drift.Manager { return s.by },
		Owned:  func(string) bool { return !s.disowned },
		Record: record,
	}
}

func (s situation) outcome() drift.Outcome {
	policies := plan.Compile(s.policies)
	var claims []plan.Claim
	if s.claim != nil {
		claim := plan.Claim{Field: "f", Want: "want", Policy: &policies[0]}
		s.claim(&claim)
		claims = append(claims, claim)
	}
	return drift.CompareFields(s.shared(), claims, policies)
}

func resultOf(outcome drift.Outcome) result {
	var r result
	for _, finding := range outcome.Findings {
		r.state, r.cause = finding.State, finding.Cause
	}
	if value, there := outcome.Set["f"]; there {
		r.set = ptr.Deref(value, removed)
	}
	if entry, there := outcome.Record["f"]; there {
		r.record = &entry
	}
	for _, policy := range outcome.Released {
		r.released = policy.Name
	}
	return r
}

// done is a record's entry; an empty original stands for no value.
func done(policy, applied, original string) *state.RecordEntry {
	entry := &state.RecordEntry{Policy: policy, Applied: applied}
	if original != "" {
		entry.Original = &original
	}
	return entry
}

func claims(*plan.Claim)          {}
func overriding(c *plan.Claim)    { c.Override = true }
func heldBack(c *plan.Claim)      { c.HoldReason = "it would do harm" }
func dropping(c *plan.Claim)      { c.Dropped = "2 of 5 nodes have an endpoint" }
func forced(c *plan.Claim)        { c.Dropped, c.Forced = "2 of 5 nodes have an endpoint", true }
func notApplicable(c *plan.Claim) { c.NotApplicable = "it has no such field" }

var (
	argo    = drift.Manager{Name: "argocd-controller", Declares: true}
	kubectl = drift.Manager{Name: "kubectl-edit"}
)

func only(policies ...v1alpha1.ControlPlaneNetworkPolicy) []v1alpha1.ControlPlaneNetworkPolicy {
	return policies
}

type fieldTests map[string]struct {
	given situation
	want  result
}

var claimedFields = fieldTests{
	"A field that was never as declared is pending, and its original is recorded": {
		situation{live: "old", policies: only(policy("p")), claim: claims},
		result{state: v1alpha1.StatePending, cause: v1alpha1.CauseModified, set: "want", record: done("p", "want", "old")},
	},
	"A field without a value is pending, and the missing original is recorded": {
		situation{policies: only(policy("p")), claim: claims},
		result{state: v1alpha1.StatePending, cause: v1alpha1.CauseMissing, set: "want", record: done("p", "want", "")},
	},
	"A field that already has the value is adopted: only the record is written": {
		situation{live: "want", policies: only(policy("p")), claim: claims},
		result{record: done("p", "want", "want")},
	},
	"A field that already has the value, and drops traffic, is reported and adopted": {
		situation{live: "want", policies: only(policy("p")), claim: dropping},
		result{state: v1alpha1.StateEndpointsMissing, cause: v1alpha1.CauseModified, record: done("p", "want", "want")},
	},
	"A field that drops traffic as written is reported, and stays": {
		situation{live: "want", record: done("p", "want", "old"), policies: only(policy("p")), claim: dropping},
		result{state: v1alpha1.StateEndpointsMissing, cause: v1alpha1.CauseModified, record: done("p", "want", "old")},
	},
	"A field that drops traffic because the policy forces it is reported as forced": {
		situation{live: "want", record: done("p", "want", "old"), policies: only(policy("p")), claim: forced},
		result{state: v1alpha1.StateForced, cause: v1alpha1.CauseModified, record: done("p", "want", "old")},
	},
	"A forced field is written": {
		situation{live: "old", policies: only(policy("p")), claim: forced},
		result{state: v1alpha1.StatePending, cause: v1alpha1.CauseModified, set: "want", record: done("p", "want", "old")},
	},
	"A field as written stays": {
		situation{live: "want", record: done("p", "want", "old"), policies: only(policy("p")), claim: claims},
		result{record: done("p", "want", "old")},
	},
	"A field as written that the operator no longer owns is applied again": {
		situation{live: "want", disowned: true, record: done("p", "want", "old"), policies: only(policy("p")), claim: claims},
		result{set: "want", record: done("p", "want", "old")},
	},
	"A field that the operator no longer owns is left alone while suspended": {
		situation{live: "want", disowned: true, record: done("p", "want", "old"), policies: only(policy("p", suspended)), claim: claims},
		result{record: done("p", "want", "old")},
	},
	"A field that was changed after the write has drifted, and the original is kept": {
		situation{live: "changed", by: kubectl, record: done("p", "want", "old"), policies: only(policy("p")), claim: claims},
		result{state: v1alpha1.StateDrifted, cause: v1alpha1.CauseModified, set: "want", record: done("p", "want", "old")},
	},
	"A field that was removed after the write has drifted": {
		situation{record: done("p", "want", "old"), policies: only(policy("p")), claim: claims},
		result{state: v1alpha1.StateDrifted, cause: v1alpha1.CauseMissing, set: "want", record: done("p", "want", "old")},
	},
	"A new value in the spec is new intent and no drift, and the first original is kept": {
		situation{live: "before", record: done("p", "before", "old"), policies: only(policy("p")), claim: claims},
		result{state: v1alpha1.StatePending, cause: v1alpha1.CauseModified, set: "want", record: done("p", "want", "old")},
	},
	"A new value in the spec that the field already has is adopted, and the first original is kept": {
		situation{live: "want", record: done("p", "before", "old"), policies: only(policy("p")), claim: claims},
		result{record: done("p", "want", "old")},
	},
	"A field that another manager declares is conflicted and left alone": {
		situation{live: "theirs", by: argo, policies: only(policy("p")), claim: claims},
		result{state: v1alpha1.StateConflicted, cause: v1alpha1.CauseModified},
	},
	"A field that another manager declares since the write is conflicted too": {
		situation{live: "theirs", by: argo, record: done("p", "want", "old"), policies: only(policy("p")), claim: claims},
		result{state: v1alpha1.StateConflicted, cause: v1alpha1.CauseModified, record: done("p", "want", "old")},
	},
	"A new value in the spec, of which another manager declares the opposite, releases the earlier value": {
		situation{live: "before", by: argo, record: done("p", "before", "old"), policies: only(policy("p")), claim: claims},
		result{state: v1alpha1.StateConflicted, cause: v1alpha1.CauseModified},
	},
	"A suspended policy does not release an earlier value": {
		situation{live: "before", by: argo, record: done("p", "before", "old"), policies: only(policy("p", suspended)), claim: claims},
		result{state: v1alpha1.StateConflicted, cause: v1alpha1.CauseModified, record: done("p", "before", "old")},
	},
	"A field that another manager declares with the same value is no conflict": {
		situation{live: "want", by: argo, policies: only(policy("p")), claim: claims},
		result{record: done("p", "want", "want")},
	},
	"With Override, a declared field is taken over": {
		situation{live: "theirs", by: argo, policies: only(policy("p")), claim: overriding},
		result{state: v1alpha1.StatePending, cause: v1alpha1.CauseModified, set: "want", record: done("p", "want", "theirs")},
	},
	"With Override, a declared field that was written before has drifted": {
		situation{live: "theirs", by: argo, record: done("p", "want", "old"), policies: only(policy("p")), claim: overriding},
		result{state: v1alpha1.StateDrifted, cause: v1alpha1.CauseModified, set: "want", record: done("p", "want", "old")},
	},
	"A harmful value is held": {
		situation{live: "old", policies: only(policy("p")), claim: heldBack},
		result{state: v1alpha1.StateHeld, cause: v1alpha1.CauseModified},
	},
	"A value that has become harmful is held even if it was written before": {
		situation{live: "changed", record: done("p", "want", "old"), policies: only(policy("p")), claim: heldBack},
		result{state: v1alpha1.StateHeld, cause: v1alpha1.CauseModified, record: done("p", "want", "old")},
	},
	"A hold takes precedence over a conflict: the value would not be written in any case": {
		situation{live: "theirs", by: argo, policies: only(policy("p")), claim: heldBack},
		result{state: v1alpha1.StateHeld, cause: v1alpha1.CauseModified},
	},
	"A field that the object cannot have is not applicable, and not written": {
		situation{policies: only(policy("p")), claim: notApplicable},
		result{state: v1alpha1.StateNotApplicable, cause: v1alpha1.CauseMissing},
	},
	"A field that the object cannot have is not adopted": {
		situation{live: "want", policies: only(policy("p")), claim: notApplicable},
		result{state: v1alpha1.StateNotApplicable, cause: v1alpha1.CauseModified},
	},
	"A policy in mode Audit reports every difference as drift, and writes nothing": {
		situation{live: "old", policies: only(policy("p", audits)), claim: claims},
		result{state: v1alpha1.StateDrifted, cause: v1alpha1.CauseModified},
	},
	"A policy in mode Audit adopts nothing": {
		situation{live: "want", policies: only(policy("p", audits)), claim: claims},
		result{},
	},
	"A policy that is not verified for this generation writes nothing": {
		situation{live: "old", policies: only(policy("p", editedSince)), claim: claims},
		result{state: v1alpha1.StatePending, cause: v1alpha1.CauseModified},
	},
	"A suspended policy reports drift, and writes nothing": {
		situation{live: "changed", record: done("p", "want", "old"), policies: only(policy("p", suspended)), claim: claims},
		result{state: v1alpha1.StateDrifted, cause: v1alpha1.CauseModified, record: done("p", "want", "old")},
	},
}

var releasedFields = fieldTests{
	"The original is restored when the claim ends": {
		situation{live: "want", record: done("p", "want", "old"), policies: only(policy("p"))},
		result{set: "old", released: "p"},
	},
	"A field without an original is removed when the claim ends": {
		situation{live: "want", record: done("p", "want", ""), policies: only(policy("p"))},
		result{set: removed, released: "p"},
	},
	"An adopted field keeps its value when the claim ends: only the record is removed": {
		situation{live: "want", record: done("p", "want", "want"), policies: only(policy("p"))},
		result{released: "p"},
	},
	"A field that was changed since the write keeps the foreign value": {
		situation{live: "changed", record: done("p", "want", "old"), policies: only(policy("p"))},
		result{released: "p"},
	},
	"A field that was removed since the write stays removed": {
		situation{record: done("p", "want", "old"), policies: only(policy("p"))},
		result{released: "p"},
	},
	"A policy in mode Audit restores nothing": {
		situation{live: "want", record: done("p", "want", "old"), policies: only(policy("p", audits))},
		result{record: done("p", "want", "old")},
	},
	"A suspended policy restores nothing": {
		situation{live: "want", record: done("p", "want", "old"), policies: only(policy("p", suspended))},
		result{record: done("p", "want", "old")},
	},
	"A policy restores nothing until its present generation is verified": {
		situation{live: "want", record: done("p", "want", "old"), policies: only(policy("p", editedSince))},
		result{record: done("p", "want", "old")},
	},
	"A deleted policy restores every original": {
		situation{live: "want", record: done("p", "want", "old"), policies: only(policy("p", deleted))},
		result{set: "old"},
	},
	"A deleted policy with Orphan restores nothing": {
		situation{live: "want", record: done("p", "want", "old"), policies: only(policy("p", deleted, orphans))},
		result{record: done("p", "want", "old")},
	},
	"A policy that is deleted while suspended restores nothing": {
		situation{live: "want", record: done("p", "want", "old"), policies: only(policy("p", deleted, suspended))},
		result{record: done("p", "want", "old")},
	},
	"Fields of a policy that no longer exists stay": {
		situation{live: "want", record: done("gone", "want", "old"), policies: only(policy("p"))},
		result{record: done("gone", "want", "old")},
	},
}

var passedFields = fieldTests{
	"A claim that passes to another policy keeps the oldest original": {
		situation{live: "before", record: done("q", "before", "old"), policies: only(policy("p"), policy("q")), claim: claims},
		result{state: v1alpha1.StatePending, cause: v1alpha1.CauseModified, set: "want", record: done("p", "want", "old")},
	},
	"A claim that passes with the same value changes only the record": {
		situation{live: "want", record: done("q", "want", "old"), policies: only(policy("p"), policy("q")), claim: claims},
		result{record: done("p", "want", "old")},
	},
	"A claim on a field of a policy that no longer exists keeps the original": {
		situation{live: "want", record: done("gone", "want", "old"), policies: only(policy("p")), claim: claims},
		result{record: done("p", "want", "old")},
	},
	"A claim that passes from a deleted policy is not restored in between": {
		situation{live: "before", record: done("q", "before", "old"), policies: only(policy("p"), policy("q", deleted)), claim: claims},
		result{state: v1alpha1.StatePending, cause: v1alpha1.CauseModified, set: "want", record: done("p", "want", "old")},
	},
	"A claim that passes to a policy in mode Audit leaves the written value": {
		situation{live: "before", record: done("q", "before", "old"), policies: only(policy("p", audits), policy("q")), claim: claims},
		result{state: v1alpha1.StateDrifted, cause: v1alpha1.CauseModified, record: done("q", "before", "old")},
	},
	"A deleted policy restores a field that a policy in mode Audit claims": {
		situation{live: "before", record: done("q", "before", "old"), policies: only(policy("p", audits), policy("q", deleted)), claim: claims},
		result{state: v1alpha1.StateDrifted, cause: v1alpha1.CauseModified, set: "old"},
	},
	"A deleted policy releases a field that is held for another policy": {
		situation{live: "changed", record: done("q", "want", "old"), policies: only(policy("p"), policy("q", deleted)), claim: heldBack},
		result{state: v1alpha1.StateHeld, cause: v1alpha1.CauseModified},
	},
	"A deleted policy releases a field that another manager declares now": {
		situation{live: "theirs", by: argo, record: done("q", "want", "old"), policies: only(policy("p"), policy("q", deleted)), claim: claims},
		result{state: v1alpha1.StateConflicted, cause: v1alpha1.CauseModified},
	},
	"A deleted policy releases a field that the object can no longer have": {
		situation{record: done("q", "want", "old"), policies: only(policy("p"), policy("q", deleted)), claim: notApplicable},
		result{state: v1alpha1.StateNotApplicable, cause: v1alpha1.CauseMissing},
	},
}

func TestFieldOfASharedObject(t *testing.T) {
	for _, tests := range []fieldTests{claimedFields, releasedFields, passedFields} {
		for name, test := range tests {
			t.Run(name, func(t *testing.T) {
				if diff := cmp.Diff(test.want, resultOf(test.given.outcome()), cmp.AllowUnexported(result{})); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		}
	}
}

func TestAWriteLeavesNoDifference(t *testing.T) {
	for _, tests := range []fieldTests{claimedFields, releasedFields, passedFields} {
		for name, test := range tests {
			t.Run(name, func(t *testing.T) {
				g := NewWithT(t)
				after, before := test.given, test.given.shared()
				outcome := after.outcome()
				wrote := resultOf(outcome)
				g.Expect(outcome.NeedsWrite(before.Record)).To(Equal(wrote.set != "" || !cmp.Equal(wrote.record, after.record)))
				switch wrote.set {
				case "":
				case removed:
					after.live = ""
				default:
					after.live, after.by, after.disowned = wrote.set, drift.Manager{}, false
				}
				after.record = wrote.record
				second := after.outcome()
				g.Expect(second.Set).To(BeEmpty())
				g.Expect(second.NeedsWrite(after.shared().Record)).To(BeFalse())
			})
		}
	}
}

func TestFindingNamesTheExpectedValueAndTheManager(t *testing.T) {
	outcome := situation{live: "changed", by: kubectl, record: done("p", "want", "old"), policies: only(policy("p")), claim: claims}.outcome()
	want := []drift.Finding{{
		Policy: "p", Object: drift.Object{Kind: "Service", Namespace: "shop", Name: "web"}, Field: "f",
		Cause: v1alpha1.CauseModified, State: v1alpha1.StateDrifted, Expected: "want", Actual: "changed", By: kubectl,
	}}
	if diff := cmp.Diff(want, outcome.Findings); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMessagesSayWhyAFieldIsLeftAlone(t *testing.T) {
	tests := map[string]struct {
		given situation
		want  string
	}{
		"held":           {situation{live: "old", policies: only(policy("p")), claim: heldBack}, "it would do harm"},
		"not applicable": {situation{live: "old", policies: only(policy("p")), claim: notApplicable}, "it has no such field"},
		"conflicted": {situation{live: "theirs", by: argo, policies: only(policy("p")), claim: claims},
			"argocd-controller declares it as theirs: remove the field there; or set conflictPolicy: Override here, and have the other manager ignore the field"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			NewWithT(t).Expect(test.given.outcome().Findings).To(ConsistOf(HaveField("Message", test.want)))
		})
	}
}

func TestSeveralFieldsOfAnObject(t *testing.T) {
	g := NewWithT(t)
	policies := compile(policy("p"), policy("q"), policy("r", deleted))
	live := map[string]string{"a": "old", "b": "want", "c": "want"}
	record := state.Record{"c": *done("r", "want", ""), "d": *done("gone", "x", "y")}
	before := maps.Clone(record)
	shared := drift.Shared{
		Object: drift.Object{Kind: "Node", Name: "cp-1"},
		Live: func(field string) *string {
			if value, there := live[field]; there {
				return &value
			}
			return nil
		},
		By:     func(string) drift.Manager { return drift.Manager{} },
		Record: record,
	}
	outcome := drift.CompareFields(shared, []plan.Claim{
		{Field: "e", Want: "want", Policy: &policies[1]}, {Field: "a", Want: "want", Policy: &policies[0]}, {Field: "b", Want: "want", Policy: &policies[0]},
	}, policies)
	g.Expect(outcome.Findings).To(HaveExactElements(HaveField("Field", "a"), HaveField("Field", "e")), "sorted by field")
	g.Expect(outcome.Set).To(Equal(map[string]*string{"a": ptr.To("want"), "e": ptr.To("want"), "c": nil}))
	g.Expect(outcome.Record).To(HaveLen(4))
	g.Expect(outcome.Record).NotTo(HaveKey("c"))
	g.Expect(outcome.ConcernedPolicies(shared.Record, policies)).To(Equal([]string{"p", "q", "r"}),
		"for whom it is written, sorted; whoever else the record names was perhaps made up")
	g.Expect(outcome.Restored).To(ConsistOf(And(HaveField("Field", "c"), HaveField("Policy", "r"))))
	let := outcome.WithoutRestoring(func(policy string) bool { return policy == "r" })
	g.Expect(let.Set).NotTo(HaveKey("c"), "r has abandoned its release")
	g.Expect(let.Record).To(Equal(outcome.Record))
	waits := outcome.WithoutRestoring(func(string) bool { return false })
	g.Expect(waits.Set).NotTo(HaveKey("c"), "another policy has abandoned a release")
	g.Expect(waits.Record).To(HaveKeyWithValue("c", record["c"]))
	g.Expect(waits.Remember).To(HaveKeyWithValue("c", record["c"]))
	g.Expect(outcome.Record).NotTo(HaveKey("c"), "the decision is unchanged")
	g.Expect(cmp.Diff(before, record)).To(BeEmpty(), "the record that was read is unchanged")
}

// Others may have the right to write the record, but not the field. So the
// remembered original takes precedence over the record, and is recorded again.
func TestRememberedOriginalTakesPrecedenceOverTheRecord(t *testing.T) {
	for name, test := range map[string]struct {
		claimed  bool
		record   *state.RecordEntry
		set      string
		original string
	}{
		"a claim":                    {true, done("p", "want", "forged"), "", "old"},
		"a claim with another value": {true, done("p", "else", "forged"), "", "old"},
		"a release":                  {false, done("p", "want", "forged"), "old", ""},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			s := situation{live: "want", record: test.record, policies: only(policy("p", deleted))}
			if test.claimed {
				s.policies, s.claim = only(policy("p")), claims
			}
			shared := s.shared()
			shared.Remembered = func(string) (state.RecordEntry, bool) { return *done("p", "want", "old"), true }
			policies := plan.Compile(s.policies)
			var claimed []plan.Claim
			if test.claimed {
				claimed = []plan.Claim{{Field: "f", Want: "want", Policy: &policies[0]}}
			}
			outcome := drift.CompareFields(shared, claimed, policies)
			is := resultOf(outcome)
			g.Expect(is.set).To(Equal(test.set))
			g.Expect(outcome.NeedsWrite(shared.Record)).To(BeTrue())
			if test.claimed {
				g.Expect(is.record).To(HaveValue(Equal(*done("p", "want", test.original))))
				g.Expect(outcome.Replaced).To(ConsistOf(And(HaveField("Policy", "p"), HaveField("Field", "f"), HaveField("Cause", v1alpha1.CauseModified))))
			} else {
				g.Expect(outcome.Replaced).To(BeEmpty(), "the record is removed")
			}
		})
	}
}

// What a policy releases because of a rollback is restored in any case; what a
// policy releases because it no longer claims the field may be kept.
func TestReleasedFieldsMayBeKeptExceptInARollback(t *testing.T) {
	g := NewWithT(t)
	s := situation{live: "want", record: done("p", "want", "old"), policies: only(policy("p"))}
	outcome := s.outcome()
	g.Expect(outcome.Released).To(HaveKeyWithValue("f", HaveField("Name", "p")))
	outcome.KeepField("f", s.shared().Record)
	g.Expect(outcome.NeedsWrite(s.shared().Record)).To(BeFalse())

	s.policies = only(policy("p", func(p *v1alpha1.ControlPlaneNetworkPolicy) {
		p.Annotations = map[string]string{v1alpha1.AnnotationRevert: "paged at night"}
	}))
	outcome = s.outcome()
	g.Expect(outcome.Released).To(BeEmpty())
	g.Expect(outcome.Set).To(HaveKeyWithValue("f", HaveValue(Equal("old"))))
}
