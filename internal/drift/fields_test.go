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

// situation is one field of a shared object, and who wants what of it.
type situation struct {
	// live is what is there; empty for nothing.
	live string
	// by is who set it.
	by drift.Manager
	// record is what had been done to the field before; nil for nothing.
	record *state.RecordEntry
	// policies exist; the first is the one that claims, if claim is not nil.
	policies []v1alpha1.ControlPlaneNetworkPolicy
	claim    func(*plan.Claim)
	// disowned says that the operator is not among the field's managers.
	disowned bool
}

// result is what comes of it.
type result struct {
	// state of the finding; empty for none.
	state v1alpha1.DriftState
	cause v1alpha1.DriftCause
	// set is what is written: empty for nothing, "(removed)" for no value.
	set string
	// record is what the record says of the field afterwards.
	record *state.RecordEntry
	// released is the policy that let the field go.
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

// done is a record's entry; an empty original is none.
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
	"A field that never was as declared is pending, and what was there is noted": {
		situation{live: "old", policies: only(policy("p")), claim: claims},
		result{state: v1alpha1.StatePending, cause: v1alpha1.CauseModified, set: "want", record: done("p", "want", "old")},
	},
	"A field that was not there at all is pending, and its absence is noted": {
		situation{policies: only(policy("p")), claim: claims},
		result{state: v1alpha1.StatePending, cause: v1alpha1.CauseMissing, set: "want", record: done("p", "want", "")},
	},
	"A field that has the value already is adopted: only the record is written": {
		situation{live: "want", policies: only(policy("p")), claim: claims},
		result{record: done("p", "want", "want")},
	},
	"A field that has the value already, and drops traffic, is told and adopted": {
		situation{live: "want", policies: only(policy("p")), claim: dropping},
		result{state: v1alpha1.StateEndpointsMissing, cause: v1alpha1.CauseModified, record: done("p", "want", "want")},
	},
	"A field that drops traffic as it was written is told, and stays": {
		situation{live: "want", record: done("p", "want", "old"), policies: only(policy("p")), claim: dropping},
		result{state: v1alpha1.StateEndpointsMissing, cause: v1alpha1.CauseModified, record: done("p", "want", "old")},
	},
	"A field that drops traffic because that is forced is told as such": {
		situation{live: "want", record: done("p", "want", "old"), policies: only(policy("p")), claim: forced},
		result{state: v1alpha1.StateForced, cause: v1alpha1.CauseModified, record: done("p", "want", "old")},
	},
	"A field that is forced is written": {
		situation{live: "old", policies: only(policy("p")), claim: forced},
		result{state: v1alpha1.StatePending, cause: v1alpha1.CauseModified, set: "want", record: done("p", "want", "old")},
	},
	"A field that is as written stays": {
		situation{live: "want", record: done("p", "want", "old"), policies: only(policy("p")), claim: claims},
		result{record: done("p", "want", "old")},
	},
	"A field that is as written, but is not the operator's any more, is declared again": {
		situation{live: "want", disowned: true, record: done("p", "want", "old"), policies: only(policy("p")), claim: claims},
		result{set: "want", record: done("p", "want", "old")},
	},
	"A field that is not the operator's any more is left alone while suspended": {
		situation{live: "want", disowned: true, record: done("p", "want", "old"), policies: only(policy("p", suspended)), claim: claims},
		result{record: done("p", "want", "old")},
	},
	"A field that was changed after it was written has drifted, and the original is kept": {
		situation{live: "changed", by: kubectl, record: done("p", "want", "old"), policies: only(policy("p")), claim: claims},
		result{state: v1alpha1.StateDrifted, cause: v1alpha1.CauseModified, set: "want", record: done("p", "want", "old")},
	},
	"A field that was removed after it was written has drifted": {
		situation{record: done("p", "want", "old"), policies: only(policy("p")), claim: claims},
		result{state: v1alpha1.StateDrifted, cause: v1alpha1.CauseMissing, set: "want", record: done("p", "want", "old")},
	},
	"A new value in the spec is new intent and no drift, and the first original is kept": {
		situation{live: "before", record: done("p", "before", "old"), policies: only(policy("p")), claim: claims},
		result{state: v1alpha1.StatePending, cause: v1alpha1.CauseModified, set: "want", record: done("p", "want", "old")},
	},
	"A new value in the spec that is there already is adopted, and the first original is kept": {
		situation{live: "want", record: done("p", "before", "old"), policies: only(policy("p")), claim: claims},
		result{record: done("p", "want", "old")},
	},
	"A field that somebody else declares is conflicted and left alone": {
		situation{live: "theirs", by: argo, policies: only(policy("p")), claim: claims},
		result{state: v1alpha1.StateConflicted, cause: v1alpha1.CauseModified},
	},
	"A field that somebody began to declare after it was written is conflicted too": {
		situation{live: "theirs", by: argo, record: done("p", "want", "old"), policies: only(policy("p")), claim: claims},
		result{state: v1alpha1.StateConflicted, cause: v1alpha1.CauseModified, record: done("p", "want", "old")},
	},
	"A new value in the spec that somebody else declares otherwise lets go of the earlier one": {
		situation{live: "before", by: argo, record: done("p", "before", "old"), policies: only(policy("p")), claim: claims},
		result{state: v1alpha1.StateConflicted, cause: v1alpha1.CauseModified},
	},
	"A suspended policy does not let go of an earlier value": {
		situation{live: "before", by: argo, record: done("p", "before", "old"), policies: only(policy("p", suspended)), claim: claims},
		result{state: v1alpha1.StateConflicted, cause: v1alpha1.CauseModified, record: done("p", "before", "old")},
	},
	"A field that somebody else declares with the same value is no conflict": {
		situation{live: "want", by: argo, policies: only(policy("p")), claim: claims},
		result{record: done("p", "want", "want")},
	},
	"With Override a declared field is taken over": {
		situation{live: "theirs", by: argo, policies: only(policy("p")), claim: overriding},
		result{state: v1alpha1.StatePending, cause: v1alpha1.CauseModified, set: "want", record: done("p", "want", "theirs")},
	},
	"With Override a declared field that was written before has drifted": {
		situation{live: "theirs", by: argo, record: done("p", "want", "old"), policies: only(policy("p")), claim: overriding},
		result{state: v1alpha1.StateDrifted, cause: v1alpha1.CauseModified, set: "want", record: done("p", "want", "old")},
	},
	"A value that would do harm is held back": {
		situation{live: "old", policies: only(policy("p")), claim: heldBack},
		result{state: v1alpha1.StateHeld, cause: v1alpha1.CauseModified},
	},
	"A value that would do harm now is held back also where it had been written before": {
		situation{live: "changed", record: done("p", "want", "old"), policies: only(policy("p")), claim: heldBack},
		result{state: v1alpha1.StateHeld, cause: v1alpha1.CauseModified, record: done("p", "want", "old")},
	},
	"Held back goes before conflicted: it would not be written in any case": {
		situation{live: "theirs", by: argo, policies: only(policy("p")), claim: heldBack},
		result{state: v1alpha1.StateHeld, cause: v1alpha1.CauseModified},
	},
	"A field that the object can not have is not applicable, and not written": {
		situation{policies: only(policy("p")), claim: notApplicable},
		result{state: v1alpha1.StateNotApplicable, cause: v1alpha1.CauseMissing},
	},
	"A field that the object can not have is not adopted": {
		situation{live: "want", policies: only(policy("p")), claim: notApplicable},
		result{state: v1alpha1.StateNotApplicable, cause: v1alpha1.CauseModified},
	},
	"A policy that audits calls every difference drift, and writes nothing": {
		situation{live: "old", policies: only(policy("p", audits)), claim: claims},
		result{state: v1alpha1.StateDrifted, cause: v1alpha1.CauseModified},
	},
	"A policy that audits adopts nothing": {
		situation{live: "want", policies: only(policy("p", audits)), claim: claims},
		result{},
	},
	"A policy that is not verified for this generation writes nothing": {
		situation{live: "old", policies: only(policy("p", editedSince)), claim: claims},
		result{state: v1alpha1.StatePending, cause: v1alpha1.CauseModified},
	},
	"A suspended policy tells drift, and writes nothing": {
		situation{live: "changed", record: done("p", "want", "old"), policies: only(policy("p", suspended)), claim: claims},
		result{state: v1alpha1.StateDrifted, cause: v1alpha1.CauseModified, record: done("p", "want", "old")},
	},
}

var releasedFields = fieldTests{
	"A field that is not claimed any more gets its original back": {
		situation{live: "want", record: done("p", "want", "old"), policies: only(policy("p"))},
		result{set: "old", released: "p"},
	},
	"A field that was not there before is removed": {
		situation{live: "want", record: done("p", "want", ""), policies: only(policy("p"))},
		result{set: removed, released: "p"},
	},
	"A field that had been adopted keeps its value: only the record goes": {
		situation{live: "want", record: done("p", "want", "want"), policies: only(policy("p"))},
		result{released: "p"},
	},
	"A field that someone has changed since is left to them": {
		situation{live: "changed", record: done("p", "want", "old"), policies: only(policy("p"))},
		result{released: "p"},
	},
	"A field that someone has removed since is left to them": {
		situation{record: done("p", "want", "old"), policies: only(policy("p"))},
		result{released: "p"},
	},
	"A policy that only audits now gives nothing back": {
		situation{live: "want", record: done("p", "want", "old"), policies: only(policy("p", audits))},
		result{record: done("p", "want", "old")},
	},
	"A suspended policy gives nothing back": {
		situation{live: "want", record: done("p", "want", "old"), policies: only(policy("p", suspended))},
		result{record: done("p", "want", "old")},
	},
	"A policy gives nothing back until what it says now is verified": {
		situation{live: "want", record: done("p", "want", "old"), policies: only(policy("p", editedSince))},
		result{record: done("p", "want", "old")},
	},
	"A policy that is being deleted gives everything back": {
		situation{live: "want", record: done("p", "want", "old"), policies: only(policy("p", deleted))},
		result{set: "old"},
	},
	"A policy that is being deleted with Orphan leaves everything": {
		situation{live: "want", record: done("p", "want", "old"), policies: only(policy("p", deleted, orphans))},
		result{record: done("p", "want", "old")},
	},
	"A policy that is being deleted while suspended leaves everything": {
		situation{live: "want", record: done("p", "want", "old"), policies: only(policy("p", deleted, suspended))},
		result{record: done("p", "want", "old")},
	},
	"What a policy that is gone has left stays": {
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
	"A claim on what a policy that is gone has left keeps its original": {
		situation{live: "want", record: done("gone", "want", "old"), policies: only(policy("p")), claim: claims},
		result{record: done("p", "want", "old")},
	},
	"A claim that passes from a policy that is being deleted is not given back in between": {
		situation{live: "before", record: done("q", "before", "old"), policies: only(policy("p"), policy("q", deleted)), claim: claims},
		result{state: v1alpha1.StatePending, cause: v1alpha1.CauseModified, set: "want", record: done("p", "want", "old")},
	},
	"A claim that passes to a policy that only audits leaves what was written": {
		situation{live: "before", record: done("q", "before", "old"), policies: only(policy("p", audits), policy("q")), claim: claims},
		result{state: v1alpha1.StateDrifted, cause: v1alpha1.CauseModified, record: done("q", "before", "old")},
	},
	"A policy that is being deleted gives back what a policy that only audits claims": {
		situation{live: "before", record: done("q", "before", "old"), policies: only(policy("p", audits), policy("q", deleted)), claim: claims},
		result{state: v1alpha1.StateDrifted, cause: v1alpha1.CauseModified, set: "old"},
	},
	"A policy that is being deleted lets go of what is held back for another": {
		situation{live: "changed", record: done("q", "want", "old"), policies: only(policy("p"), policy("q", deleted)), claim: heldBack},
		result{state: v1alpha1.StateHeld, cause: v1alpha1.CauseModified},
	},
	"A policy that is being deleted lets go of what somebody else declares by now": {
		situation{live: "theirs", by: argo, record: done("q", "want", "old"), policies: only(policy("p"), policy("q", deleted)), claim: claims},
		result{state: v1alpha1.StateConflicted, cause: v1alpha1.CauseModified},
	},
	"A policy that is being deleted lets go of a field that the object can not have any more": {
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

func TestWhatIsWrittenNeedsNoSecondWrite(t *testing.T) {
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

func TestFindingSaysWhatIsExpectedAndWhoMadeItSo(t *testing.T) {
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
		"held back":      {situation{live: "old", policies: only(policy("p")), claim: heldBack}, "it would do harm"},
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
	g.Expect(let.Set).NotTo(HaveKey("c"), "given up")
	g.Expect(let.Record).To(Equal(outcome.Record))
	waits := outcome.WithoutRestoring(func(string) bool { return false })
	g.Expect(waits.Set).NotTo(HaveKey("c"), "another policy has given up something else")
	g.Expect(waits.Record).To(HaveKeyWithValue("c", record["c"]))
	g.Expect(waits.Remember).To(HaveKeyWithValue("c", record["c"]))
	g.Expect(outcome.Record).NotTo(HaveKey("c"), "what was decided stays as it was")
	g.Expect(cmp.Diff(before, record)).To(BeEmpty(), "the record that was read stays as it was")
}

// Others may be able to write the record and not the field: what the operator remembers of
// the original goes before it, and is put on record again.
func TestWhatIsRememberedGoesBeforeTheRecord(t *testing.T) {
	for name, test := range map[string]struct {
		claimed  bool
		record   *state.RecordEntry
		set      string
		original string
	}{
		"a claim":                         {true, done("p", "want", "forged"), "", "old"},
		"a claim, with another value too": {true, done("p", "else", "forged"), "", "old"},
		"a release":                       {false, done("p", "want", "forged"), "old", ""},
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
				g.Expect(outcome.Replaced).To(BeEmpty(), "the record goes")
			}
		})
	}
}

// What a policy lets go because it is taken back is given back in any case; what
// it lets go because it does not claim it any more may be kept.
func TestWhatIsReleasedMayBeKeptUnlessItIsTakenBack(t *testing.T) {
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
