// SPDX-License-Identifier: Apache-2.0

package rollout_test

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/intent"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
)

// waits puts the first of three nodes into a state and forbids every start, so
// that the test sees the state before the start.
func waits(edits ...edit) rollout.Input {
	return input(3, append([]edit{unverified, pending(2, "NotVerified"), pending(3, "NotVerified")}, edits...)...)
}

func TestHowANodeFollowsAChangedDeclaration(t *testing.T) {
	is := func(generation int64, version, previous string) func(Gomega, rollout.Decision) {
		return first(func(g Gomega, e *v1alpha1.ControlPlaneNodeEnactment) {
			g.Expect(e.Status.PolicyGeneration).To(Equal(generation))
			g.Expect(e.Status.Ruleset).To(Equal(version))
			g.Expect(e.Status.PreviousRuleset).To(Equal(previous))
			if rollout.PhaseOf(e) == v1alpha1.PhasePending {
				g.Expect(e.Status.StartTime).To(BeNil())
				g.Expect(e.Status.SoakTime).To(BeNil())
				g.Expect(e.Status.FailsafesScopedTime).To(BeNil())
				g.Expect(e.Status.Baseline).To(BeEmpty())
				g.Expect(e.Annotations).To(BeEmpty())
			}
		})
	}
	others := func(what string) []string { return []string{what, "Pending/NotVerified", "Pending/NotVerified"} }
	failed := func(what string) []string { return []string{what, "Reverted/ProbeFailed", "Aborted/RolloutFailed"} }
	pend := others("Pending/NotVerified")
	check(t, map[string]situation{
		"Enforced, and nothing changes": {in: waits(enforced(1, version("new", "old"))), want: others("Enforced/Proven"), check: is(3, "new", "old")},
		"Enforced, other rules":         {in: waits(enforced(1, version("old", "older"), confirming("3"))), want: pend, check: is(3, "new", "old")},
		"Enforced, and scoped":          {in: waits(enforced(1, version("new", "old"), scopedFor(9)), wantsScoped(1)), want: others("Enforced/Proven"), check: is(3, "new", "old")},
		"Enforced, and scoped failsafe ports are no longer declared": {in: waits(enforced(1, version("new", "old"), scopedFor(9))), want: others("Enforced/Proven"),
			check: first(func(g Gomega, e *v1alpha1.ControlPlaneNodeEnactment) {
				g.Expect(e.Status.FailsafesScopedTime).To(BeNil())
			})},
		"Enforced, and scoped failsafe ports were never tried": {
			in:   waits(enforced(1, version("new", "old"), generation(2)), live(1, "new"), wantsScoped(1)),
			want: pend, check: is(3, "new", "new"),
		},
		"Enforced, scoped failsafe ports were never tried, and a node was reverted": {
			in:   input(3, enforced(1, version("new", "old"), generation(2)), live(1, "new"), wantsScoped(1), reverted(2, "ProbeFailed"), pending(3, "Queued")),
			want: failed("Enforced/Proven"), check: is(2, "new", "old"),
		},
		"Enforced, another generation":                 {in: waits(enforced(1, generation(2))), want: others("Enforced/Proven"), check: is(3, "new", "")},
		"Enforced, other rules and another generation": {in: waits(enforced(1, version("old", ""), generation(2))), want: pend, check: is(3, "new", "old")},
		"Enforced, other rules, and a node was reverted": {
			in:   input(3, enforced(1, version("old", "older"), generation(2)), reverted(2, "ProbeFailed"), pending(3, "Queued")),
			want: failed("Enforced/Proven"), check: is(2, "old", "older"),
		},
		"Enforced, other rules, and a node was reverted in a generation before": {
			in:   waits(enforced(1, version("old", ""), generation(2)), reverted(2, "ProbeFailed", generation(2))),
			want: pend, check: is(3, "new", "old"),
		},
		"Progressing, other rules": {in: waits(progressing(1, "Soaking", with(well, soakedFor(9), version("other", "old"), confirming("3"))...)),
			want: pend, check: is(3, "new", "old")},
		"Progressing, another generation": {in: waits(progressing(1, "Soaking", with(well, soakedFor(9), generation(2), version("new", "old"))...)),
			want: others("Progressing/Soaking"), wake: 2500 * time.Millisecond, check: is(3, "new", "old")},
		"Enforced, and its rules were removed": {in: waits(enforced(1, version("new", "old"))), want: others("Enforced/Proven"), check: is(3, "new", "old")},
		"Enforced, and the rules of several nodes were removed": {
			in:   waits(enforced(1, version("new", "old")), enforced(2)),
			want: in3("Pending/NotVerified"), check: is(3, "new", ""),
		},
		"Pending with older rules that were removed": {in: waits(pending(1, "Queued", version("new", "old"))), want: pend, check: is(3, "new", "old")},
		"Adopted with rules that were removed": {
			in: waits(pending(1, "Queued", version("new", "new"), adoptedFor(9))), want: pend, check: is(3, "new", ""),
		},
		"Pending with older rules, and the rules of several nodes were removed": {
			in:   waits(pending(1, "NotVerified", version("new", "old"), wasScopedFor(9)), pending(2, "NotVerified", version("new", "old"))),
			want: pend, check: is(3, "new", ""),
		},
		"Aborted with older rules, and the rules of several nodes were removed": {
			in:   input(3, aborted(1, version("new", "old"), wasScopedFor(9)), reverted(2, "ProbeFailed", version("new", "old")), aborted(3), live(3, "old")),
			want: []string{"Aborted/RolloutFailed", "Reverted/ProbeFailed", "Aborted/RolloutFailed"}, check: func(g Gomega, d rollout.Decision) {
				is(3, "new", "")(g, d)
				g.Expect(d.Enactments[1].Status.PreviousRuleset).To(BeEmpty())
			},
		},
		"Aborted with older rules that were removed": {
			in:   input(3, aborted(1, version("new", "old")), reverted(2, "ProbeFailed"), aborted(3)),
			want: []string{"Aborted/RolloutFailed", "Reverted/ProbeFailed", "Aborted/RolloutFailed"}, check: is(3, "new", "old"),
		},
		"Progressing without rules yet, beside an enforced node": {
			in:   waits(progressing(1, "Writing", version("new", "")), enforced(2), unprogrammed(1)),
			want: []string{"Progressing/Writing", "Enforced/Proven", "Pending/NotVerified"}, wake: 118500 * time.Millisecond, check: is(3, "new", ""),
		},
		"Enforced, and its failsafe ports were opened": {
			in:   waits(enforced(1, version("new", "old"), scopedFor(9)), live(1, "new"), wantsScoped(1)),
			want: others("Enforced/Proven"), check: is(3, "new", "old"),
		},
		"Enforced, and the failsafe ports of several nodes were opened": {
			in:   waits(enforced(1, version("new", "old"), scopedFor(9)), live(1, "new"), wantsScoped(1), enforced(2, scopedFor(9)), live(2, "new"), wantsScoped(2)),
			want: in3("Pending/NotVerified"), check: is(3, "new", "new"),
		},
		"Enforced with open failsafe ports, and another node is not ready": {
			in:   waits(enforced(1, version("new", "old"), scopedFor(9)), live(1, "new"), wantsScoped(1), notReady(2)),
			want: in3("Pending/NotVerified"), check: is(3, "new", "new"),
		},
		"Enforced and scoped, and another node is not ready": {
			in:   waits(enforced(1, version("new", "old"), scopedFor(9)), live(1, "new"), wantsScoped(1), scoped(1), notReady(2)),
			want: others("Enforced/Proven"), check: is(3, "new", "old"),
		},
		"Enforced, and the failsafe ports of several nodes are contested": {
			in: waits(enforced(1, version("new", ""), scopedFor(9)), live(1, "new"), wantsScoped(1), contested(1),
				enforced(2, scopedFor(9)), live(2, "new"), wantsScoped(2), contested(2)),
			want: []string{"Enforced/Proven", "Enforced/Proven", "Pending/NotVerified"}, check: is(3, "new", ""),
		},
		"Enforced without a soak of the failsafe ports, which are no longer contested": {
			in: waits(enforced(1, version("new", "old"), scopedFor(9), func(e *v1alpha1.ControlPlaneNodeEnactment) { e.Status.SoakTime = nil }),
				live(1, "new"), wantsScoped(1)),
			want: pend, check: is(3, "new", "new"),
		},
		"Enforced and scoped, other rules": {
			in: waits(enforced(1, version("old", ""), scopedFor(9)), live(1, "old"), wantsScoped(1), scoped(1)), want: pend,
			check: first(func(g Gomega, e *v1alpha1.ControlPlaneNodeEnactment) {
				g.Expect(e.Status.PreviousFailsafesScopedTime).To(Equal(ago(9)))
			}),
		},
		"Pending with older rules, and its failsafe ports were opened": {
			in: waits(pending(1, "Queued", version("new", "old"), wasScopedFor(9)), live(1, "old")), want: pend,
			check: first(func(g Gomega, e *v1alpha1.ControlPlaneNodeEnactment) {
				g.Expect(e.Status.PreviousFailsafesScopedTime).To(BeNil())
			}),
		},
		"Enforced without rules, and another node is not ready": {
			in:   waits(enforced(1, version("new", "old")), notReady(2)),
			want: in3("Pending/NotVerified"), check: is(3, "new", ""),
		},
		"Aborted, and the node that was reverted left the cluster": {
			in:   waits(aborted(1, version("other", "old")), func(in *rollout.Input) { in.FailedNode = "cp-9" }),
			want: []string{"Aborted/RolloutFailed", "Aborted/RolloutFailed", "Aborted/RolloutFailed"}, check: is(3, "other", "old"),
		},
		"Enforced, and the declared ruleset is unknown": {in: waits(enforced(1, version("old", "older"), generation(2)), unknown),
			want: others("Enforced/Proven"), check: is(2, "old", "older")},
		"Progressing, and the declared ruleset is unknown": {
			in:   waits(progressing(1, "Soaking", with(well, soakedFor(9), version("new", "old"), generation(2), confirming("3"))...), unknown),
			want: pend, message: "not yet", check: is(2, "new", "old"),
		},
		"Pending, and the declared ruleset is unknown": {in: waits(pending(1, "Probing", version("new", "new")), live(1, "new"), unknown),
			want: pend, message: "not yet", check: is(3, "new", "new")},
		"Reverted, and the declared ruleset is unknown": {in: waits(reverted(1, "ProbeFailed", version("new", "old"), generation(2)), unknown),
			want: others("Reverted/ProbeFailed"), check: is(2, "new", "old")},
		"Aborted, and the declared ruleset is unknown": {in: waits(aborted(1, version("new", "old"), generation(2)), unknown),
			want: others("Aborted/RolloutFailed"), check: is(2, "new", "old")},
		"Pending, other rules": {in: waits(pending(1, "Queued", version("other", "old"), generation(2))), want: pend, check: is(3, "new", "old")},
		"Pending, and the declared ruleset is again the one that the node has": {in: waits(pending(1, "Queued", version("other", "new")), live(1, "new")),
			want: others("Enforced/Unproven"), message: "Has the declared rules", check: is(3, "new", "")},
		"Pending, the declared ruleset is again the one that the node has, and still scoped": {
			in:   waits(pending(1, "Queued", version("other", "new"), wasScopedFor(9)), live(1, "new"), wantsScoped(1), scoped(1)),
			want: others("Enforced/Unproven"), message: "Has the declared rules", check: first(func(g Gomega, e *v1alpha1.ControlPlaneNodeEnactment) {
				g.Expect(e.Status.FailsafesScopedTime).To(Equal(ago(9)))
				g.Expect(e.Status.PreviousFailsafesScopedTime).To(BeNil())
			})},
		"Pending, the declared ruleset is again the one that the node has, and scoping was on trial": {
			in:   waits(pending(1, "Queued", version("other", "new")), live(1, "new"), wantsScoped(1), scoped(1)),
			want: pend, check: is(3, "new", "new"),
		},
		"Pending with the declared ruleset, and scoping was on trial": {
			in:   waits(pending(1, "NotVerified", version("new", "new")), live(1, "new"), wantsScoped(1), scoped(1)),
			want: pend, check: is(3, "new", "new"),
		},
		"Pending, and the declared ruleset is again the adopted one": {in: waits(pending(1, "Queued", version("other", "new"), adoptedFor(9)), live(1, "new")),
			want: pend, check: is(3, "new", "new")},
		"Aborted, and the declared ruleset is again the one that the node has": {
			in:   waits(aborted(1, version("other", "new"), wasScopedFor(9), generation(2)), live(1, "new"), wantsScoped(1), scoped(1)),
			want: others("Enforced/Unproven"), check: is(3, "new", ""),
		},
		"Progressing, and a foreign endpoint is in the place of the managed one": {
			in:   waits(progressing(1, "Writing", with(well, version("new", "old"))...), foreign(1)),
			want: others("Pending/ForeignHostEndpoint"), check: is(3, "new", "old"),
		},
		"Progressing, and the declared ruleset is again the previous one": {in: waits(progressing(1, "Writing", version("other", "new")), live(1, "new")),
			want: pend, check: is(3, "new", "new")},
		"Pending, the declared ruleset is again the one that the node has, with open failsafe ports": {in: waits(pending(1, "Queued", version("other", "new")), live(1, "new"), wantsScoped(1)),
			want: pend, check: is(3, "new", "new")},
		"Progressing with scoped failsafe ports, other rules": {in: waits(progressing(1, "Soaking", with(well, soakedFor(9), scopedFor(20), version("other", "old"))...), wantsScoped(1)),
			want: pend, check: is(3, "new", "old")},
		"Pending, and the declared ruleset is again the previous one": {in: waits(pending(1, "Queued", version("other", "new"))), want: pend, check: is(3, "new", "new")},
		"Reverted, other rules in the same generation": {
			in:   input(3, reverted(1, "ApplyFailed", version("other", "old")), reverted(2, "ProbeFailed"), pending(3, "x")),
			want: failed("Reverted/ApplyFailed"), check: is(3, "other", "old"),
		},
		"Reverted, another generation": {in: waits(reverted(1, "ProbeFailed", version("other", "old"), generation(2))), want: pend, check: is(3, "new", "old")},
		"Aborted, other rules in the same generation": {
			in:   input(3, aborted(1, version("other", "old")), reverted(2, "ProbeFailed"), pending(3, "x")),
			want: failed("Aborted/RolloutFailed"), check: is(3, "other", "old"),
		},
		"Aborted, and the node that was reverted no longer exists": {in: waits(aborted(1, version("other", "old"))),
			want: pend, check: is(3, "new", "old")},
		"Aborted, another generation":                          {in: waits(aborted(1, version("other", "old"), generation(2))), want: pend, check: is(3, "new", "old")},
		"Rolled back, and the rollback is no longer requested": {in: waits(reverted(1, "RolledBack", version("other", ""))), want: pend, check: is(3, "new", "")},
		"Rolled back, and the rollback is still requested":     {in: waits(reverted(1, "RolledBack"), rollBack), want: in3("Reverted/RolledBack"), message: "help", check: is(3, "new", "")},
		"Rolled back, in another generation":                   {in: waits(reverted(1, "RolledBack", generation(2)), rollBack), want: in3("Reverted/RolledBack"), check: is(3, "new", "")},
		"To be rolled back, enforced":                          {in: waits(enforced(1, version("old", "older")), rollBack), want: in3("Reverted/RolledBack"), message: `annotated with cpnp.dev/revert: "help"`},
		"To be rolled back, in flight":                         {in: waits(progressing(1, "Probing", version("new", "old")), rollBack), want: in3("Reverted/RolledBack"), check: is(3, "new", "")},
		"To be rolled back, failed in a generation before":     {in: waits(reverted(1, "ProbeFailed", version("new", "old"), generation(2)), rollBack), want: in3("Reverted/RolledBack"), check: is(3, "new", "")},
		"To be rolled back, failed in this generation": {in: waits(reverted(1, "ProbeFailed", version("new", "old")), rollBack),
			want: []string{"Reverted/ProbeFailed", "Reverted/RolledBack", "Reverted/RolledBack"}, check: is(3, "new", "")},
		"To be rolled back, without an enactment": {in: input(1, rollBack, live(1, "new")), want: []string{"Reverted/RolledBack"}, check: is(3, "new", "")},
	})
}

func TestAFailureIsRememberedAfterRollBack(t *testing.T) {
	g := NewWithT(t)
	in := input(3, rollBack, reverted(1, "ProbeFailed"), aborted(2), enforced(3))
	in = next(in, decide(t, in))
	in.Intent, in.Reason = intent.Enforce, ""
	g.Expect(phasesOf(decide(t, in).Enactments)).To(Equal(
		[]string{"Reverted/ProbeFailed", "Aborted/RolloutFailed", "Aborted/RolloutFailed"}))
}

func TestNoNodeIsStartedBeforeAnotherIsRolledBack(t *testing.T) {
	g := NewWithT(t)
	in := input(3, pending(1, "Probing", asked(4)), progressing(2, "Soaking", version("other", "")), pending(3, "x"))
	d := decide(t, in)
	g.Expect(phasesOf(d.Enactments)).To(Equal(in3("Pending/Queued")), "cp-2 still has other rules")
	g.Expect(phase(&d.Enactments[0]).Message).To(Equal("Waits for cp-2"))
}

func TestAnEnactmentMovesToTheRecreatedPolicy(t *testing.T) {
	g := NewWithT(t)
	in := waits(enforced(1))
	in.Nodes[0].Enactment.OwnerReferences[0].UID = "before"
	in.Nodes[0].Enactment.Labels = nil
	d := decide(t, in)
	g.Expect(d.Enactments[0].OwnerReferences).To(HaveLen(1))
	g.Expect(d.Enactments[0].OwnerReferences[0].UID).To(BeEquivalentTo("uid"))
}

func TestAConditionKeepsTheTimeOfItsTransition(t *testing.T) {
	g := NewWithT(t)
	d := decide(t, one("Probing", well...)())
	g.Expect(phase(&d.Enactments[0]).LastTransitionTime).To(Equal(*ago(100)))
	d = decide(t, one("Probing", well...)(cut))
	g.Expect(phase(&d.Enactments[0]).LastTransitionTime).To(Equal(*ago(0)))
}
