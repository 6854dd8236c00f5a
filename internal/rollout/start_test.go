// SPDX-License-Identifier: Apache-2.0

package rollout_test

import (
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
)

// situation is an input and the expected decision.
type situation struct {
	in      rollout.Input
	want    []string // phase/reason of every node
	message string   // in the message of the first node
	wake    time.Duration
	check   func(g Gomega, d rollout.Decision)
}

func check(t *testing.T, cases map[string]situation) {
	t.Helper()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			d := decide(t, c.in)
			g.Expect(phasesOf(d.Enactments)).To(Equal(c.want))
			g.Expect(phase(&d.Enactments[0]).Message).To(ContainSubstring(c.message))
			g.Expect(d.WakeAfter).To(Equal(c.wake))
			if c.check != nil {
				c.check(g, d)
			}
		})
	}
}

// in3 returns the same phase and reason for three nodes.
func in3(what string) []string { return []string{what, what, what} }

// first returns a check of the first node.
func first(check func(g Gomega, e *v1alpha1.ControlPlaneNodeEnactment)) func(Gomega, rollout.Decision) {
	return func(g Gomega, d rollout.Decision) { check(g, &d.Enactments[0]) }
}

func TestNewNodesRequestProbesAtOnce(t *testing.T) {
	g := NewWithT(t)
	d := decide(t, input(3))
	g.Expect(phasesOf(d.Enactments)).To(Equal([]string{"Pending/Probing", "Pending/Queued", "Pending/Queued"}))
	g.Expect(d.WakeAfter).To(Equal(2500*time.Millisecond), "the observers have three seconds to announce themselves")
	for i, e := range d.Enactments {
		g.Expect(e.Name).To(Equal("p." + e.Spec.Node))
		g.Expect(e.Spec.ProbeRound).To(HaveValue(BeEquivalentTo(1)))
		g.Expect(e.Spec.Targets).To(Equal(input(3).Nodes[i].Targets))
		g.Expect(e.Status.ProbeRequestTime).To(Equal(ago(0)))
		g.Expect(e.Status.PolicyGeneration).To(BeEquivalentTo(3))
		g.Expect(e.Status.Ruleset).To(Equal("new"))
		g.Expect(e.OwnerReferences).To(Equal([]metav1.OwnerReference{{
			APIVersion: "cpnp.dev/v1alpha1", Kind: "ControlPlaneNetworkPolicy", Name: "p", UID: "uid", Controller: ptr.To(true),
		}}))
	}
	g.Expect(phase(&d.Enactments[2]).Message).To(Equal("Waits for cp-1"))
}

func TestFirstPhaseOfANodeWithoutEnactment(t *testing.T) {
	previous := func(want string) func(Gomega, rollout.Decision) {
		return first(func(g Gomega, e *v1alpha1.ControlPlaneNodeEnactment) {
			g.Expect(e.Status.PreviousRuleset).To(Equal(want))
		})
	}
	check(t, map[string]situation{
		"The node has the declared rules": {in: input(3, unverified, live(1, "new")), want: in3("Pending/NotVerified"), check: previous("new")},
		"The node has the declared rules and scoped failsafe ports": {in: input(3, unverified, live(1, "new"), wantsScoped(1), scoped(1)), want: in3("Pending/NotVerified"),
			check: first(func(g Gomega, e *v1alpha1.ControlPlaneNodeEnactment) {
				g.Expect(rollout.RulesetFor(e)).To(Equal(rollout.Ruleset{Version: "new"}), "opening failsafe ports cuts no flow")
				g.Expect(e.Status.AdoptedTime).To(Equal(ago(0)))
			})},
		"The node has the declared rules and is not ready": {in: input(3, unverified, live(1, "new"), notReady(1)),
			want: in3("Pending/NotVerified"), check: previous("")},
		"The node has the rules, but the endpoint is foreign": {in: input(3, unverified, live(1, "new"), foreign(1)),
			want: []string{"Pending/ForeignHostEndpoint", "Pending/NotVerified", "Pending/NotVerified"}, check: previous("new")},
		"The node has other rules": {in: input(3, unverified, live(1, "old")), want: in3("Pending/NotVerified"), check: previous("old")},
		"The node has no rules":    {in: input(3, unverified), want: in3("Pending/NotVerified"), check: previous("")},
		"The enactment was created, and its status was not written": {
			in: input(3, unverified, live(1, "old"), pending(1, "x", func(e *v1alpha1.ControlPlaneNodeEnactment) {
				e.Status = v1alpha1.ControlPlaneNodeEnactmentStatus{}
			})),
			want: in3("Pending/NotVerified"), check: previous("old"),
		},
		"Other nodes were reverted": {in: input(3, reverted(2, "ProbeFailed"), reverted(3, "ProbeFailed")),
			want: []string{"Aborted/RolloutFailed", "Reverted/ProbeFailed", "Reverted/ProbeFailed"}, message: "cp-2"},
	})
}

// all puts three nodes into Pending; the first was chosen to start 4 s ago.
func all(edits ...edit) rollout.Input {
	return input(3, append([]edit{
		pending(1, "Probing", asked(4)), pending(2, "Queued"), pending(3, "Queued"),
	}, edits...)...)
}

func TestWhyAPendingNodeIsNotStarted(t *testing.T) {
	queued := []string{"Pending/Queued", "Pending/Queued", "Pending/Queued"}
	check(t, map[string]situation{
		"Nothing": {in: all(), want: []string{"Progressing/Writing", "Pending/Queued", "Pending/Queued"}, wake: 120500 * time.Millisecond},
		"The defaults are those of the API": {in: all(defaults),
			want: []string{"Progressing/Writing", "Pending/Queued", "Pending/Queued"}, wake: 120500 * time.Millisecond},
		"The policy is not verified":                       {in: all(unverified), want: in3("Pending/NotVerified"), message: "not yet"},
		"A required flow is cut":                           {in: all(cut), want: in3("Pending/RequiredFlowCut"), message: "etcd to etcd"},
		"The node itself is not ready":                     {in: all(notReady(1)), want: in3("Pending/NodeNotReady"), message: "ready: cp-1"},
		"Other nodes are not ready, although they are new": {in: all(notReady(2), notReady(3), created(3, 0)), want: in3("Pending/NodeNotReady"), message: "ready: cp-2, cp-3"},
		"Another policy has a node in flight":              {in: all(inFlight(1)), want: queued, message: "1 node of other policies"},
		"Another node is in flight": {in: all(progressing(3, "Writing", startedFor(10), asked(12)), unprogrammed(3)),
			want: []string{"Pending/Queued", "Pending/Queued", "Progressing/Writing"}, message: "Waits for cp-3", wake: 110500 * time.Millisecond},
		"Another node is still being rolled back":    {in: all(unprogrammed(3)), want: queued, message: "Waits for cp-3"},
		"The node itself is still being rolled back": {in: all(unprogrammed(1)), want: queued, message: "the node itself"},
		"A foreign endpoint, and the node is still being rolled back": {in: all(foreign(1), unprogrammed(1)),
			want: []string{"Pending/ForeignHostEndpoint", "Pending/Queued", "Pending/Queued"}, message: "theirs"},
		"A foreign endpoint does not block other nodes": {in: all(foreign(1), pending(2, "Probing", asked(4))),
			want:    []string{"Pending/ForeignHostEndpoint", "Progressing/Writing", "Pending/Queued"},
			message: "theirs", wake: 120500 * time.Millisecond},
	})
}

// Rules on a node without an enactment may never have been tried. They are
// removed and tried like new rules, one node at a time.
func TestAdoptedNodesLoseTheirRulesBeforeTheyAreTried(t *testing.T) {
	g := NewWithT(t)
	found := func(node int) edit { return pending(node, "Queued", version("new", "new"), adoptedFor(9)) }
	in := input(3, found(1), found(2), found(3))
	for i := range in.Nodes {
		in.Nodes[i].Live.Version, in.Nodes[i].Declared.FailsafesScoped = "new", true
	}
	d := decide(t, in)
	g.Expect(phasesOf(d.Enactments)).To(Equal(in3("Pending/Queued")))
	g.Expect(phase(&d.Enactments[0]).Message).To(Equal("Waits until the node itself is rolled back"))
	g.Expect(phase(&d.Enactments[2]).Message).To(Equal("Waits for cp-1"))
	for i, want := range []string{"", "new", "new"} {
		g.Expect(rollout.RulesetFor(&d.Enactments[i]).Version).To(Equal(want))
	}

	in = next(in, d)
	in.Nodes[0].Live, in.Nodes[0].Programmed = rollout.Ruleset{}, true
	d = decide(t, in)
	g.Expect(phasesOf(d.Enactments)).To(Equal([]string{"Pending/Probing", "Pending/Queued", "Pending/Queued"}), "the baseline is taken without rules")
	g.Expect(d.Enactments[0].Status.PreviousRuleset).To(BeEmpty(), "after a failure the node has no rules")

	in = next(in, d)
	in.Now = in.Now.Add(4 * time.Second)
	d = decide(t, in)
	g.Expect(phasesOf(d.Enactments)).To(Equal([]string{"Progressing/Writing", "Pending/Queued", "Pending/Queued"}))
	g.Expect(d.Enactments[0].Status.AdoptedTime).To(BeNil())
}

// Adopted nodes have rules that may never have been tried. No other node gets
// these rules before one adopted node has been tried.
func TestAdoptedNodesWithTheNewRulesAreStartedFirst(t *testing.T) {
	g := NewWithT(t)
	in := input(3, pending(1, "Queued", version("new", "old"), adoptedFor(9)), live(1, "old"),
		pending(2, "Queued", version("new", "new"), adoptedFor(9)), live(2, "new"), pending(3, "Queued"))
	d := decide(t, in)
	g.Expect(phasesOf(d.Enactments)).To(Equal(in3("Pending/Queued")))
	g.Expect([]string{phase(&d.Enactments[0]).Message, phase(&d.Enactments[1]).Message, phase(&d.Enactments[2]).Message}).To(Equal(
		[]string{"Waits for cp-2", "Waits until the node itself is rolled back", "Waits for cp-2"}))
	in = input(4, pending(1, "Queued"), pending(2, "Queued", version("new", "new"), adoptedFor(9)), live(2, "new"),
		pending(3, "Queued", version("new", "new"), adoptedFor(9)), live(3, "new"), progressing(4, "Soaking", with(well, soakedFor(9))...))
	g.Expect(phase(&decide(t, in).Enactments[0]).Message).To(Equal("Waits for cp-4"))
	five := input(5, atOnce(2), pending(1, "Queued"), pending(2, "Queued"), pending(3, "Queued"), pending(4, "Queued"),
		pending(5, "Queued", version("new", "new"), adoptedFor(9)), live(5, "new"))
	g.Expect(phasesOf(decide(t, five).Enactments)).To(Equal(
		[]string{"Pending/Probing", "Pending/Queued", "Pending/Queued", "Pending/Queued", "Pending/Queued"}), "as many as may")
}

func TestProbesBeforeTheStart(t *testing.T) {
	round := func(want int64, seconds int) func(Gomega, rollout.Decision) {
		return first(func(g Gomega, e *v1alpha1.ControlPlaneNodeEnactment) {
			g.Expect(e.Spec.ProbeRound).To(HaveValue(Equal(want)))
			g.Expect(e.Status.ProbeRequestTime).To(Equal(ago(seconds)))
			g.Expect(e.Status.Baseline).To(BeEmpty())
		})
	}
	started := func(names ...string) func(Gomega, rollout.Decision) {
		return first(func(g Gomega, e *v1alpha1.ControlPlaneNodeEnactment) {
			g.Expect(e.Status.StartTime).To(Equal(ago(0)))
			g.Expect(e.Status.SoakTime).To(BeNil())
			var found []string
			for _, o := range e.Status.Baseline {
				found = append(found, o.Name)
				g.Expect(o.ProbeRound).To(BeEquivalentTo(7))
			}
			g.Expect(found).To(Equal(names))
		})
	}
	probing := []string{"Pending/Probing", "Pending/Queued", "Pending/Queued"}
	going := []string{"Progressing/Writing", "Pending/Queued", "Pending/Queued"}
	const whole = 120500 * time.Millisecond
	check(t, map[string]situation{
		"The node's turn comes: answers of an earlier probe round do not count": {in: all(pending(1, "Queued", asked(1), found("a", 7, open, open))),
			want: probing, wake: 2500 * time.Millisecond, check: round(8, 0)},
		"The node's turn comes again after a hold": {in: all(pending(1, "NodeNotReady", asked(4))),
			want: probing, wake: 2500 * time.Millisecond, check: round(8, 0)},
		"The node before has soaked, and its failsafe ports are being scoped": {
			in: all(pending(1, "Probing", asked(4)),
				progressing(3, "Soaking", soakedFor(61), startedFor(70)), wantsScoped(3)),
			want: []string{"Pending/Queued", "Pending/Queued", "Progressing/Writing"}, wake: 120500 * time.Millisecond, check: round(7, 4),
		},
		"The node before is enforced now: no other node starts before that is persisted": {
			in: all(pending(1, "Probing", asked(4)),
				progressing(3, "Soaking", soakedFor(61), startedFor(70))),
			want: []string{"Pending/Probing", "Pending/Queued", "Enforced/Unproven"}, wake: 2500 * time.Millisecond, check: round(8, 0),
		},
		"The node before is enforced now, the enactment is old and there is no observer": {
			in: all(pending(1, "Probing", asked(4), recorded(100)),
				progressing(3, "Soaking", soakedFor(61), startedFor(70))),
			want: []string{"Pending/Probing", "Pending/Queued", "Enforced/Unproven"}, wake: 500 * time.Millisecond, check: round(8, 0),
		},
		"The node has the rules already, and its failsafe ports are tried": {
			in:   all(pending(1, "Probing", asked(4), version("new", "new"), found("cp-2", 7, open, open)), live(1, "new"), wantsScoped(1)),
			want: []string{"Progressing/Probing", "Pending/Queued", "Pending/Queued"}, wake: 120500 * time.Millisecond,
			check: first(func(g Gomega, e *v1alpha1.ControlPlaneNodeEnactment) {
				g.Expect(e.Spec.ProbeRound).To(HaveValue(BeEquivalentTo(8)))
			}),
		},
		"The node's addresses changed": {in: all(func(in *rollout.Input) { in.Nodes[0].Targets = in.Nodes[0].Targets[:1] }),
			want: probing, wake: 2500 * time.Millisecond, check: round(8, 0)},
		"The time for observers to announce themselves is not over": {in: all(pending(1, "Probing", asked(2), found("a", 7, open, open))),
			want: probing, wake: 500 * time.Millisecond, check: round(7, 2)},
		"All observers have answered": {in: all(pending(1, "Probing", asked(3), found("b", 7, open, open), found("a", 7, open, dropped))),
			want: going, wake: whole, check: started("a", "b")},
		"One observer has not answered": {in: all(pending(1, "Probing", asked(120), found("a", 6, open, open), found("b", 7, open, open))),
			want: probing, wake: 500 * time.Millisecond, check: round(7, 120)},
		"One observer has not answered in time": {in: all(pending(1, "Probing", asked(121), found("a", 6, open, open), found("b", 7, open, open))),
			want: going, wake: whole, check: started("b")},
		"No observer exists":      {in: all(), want: going, wake: whole, check: started()},
		"The node has no targets": {in: all(noTargets, pending(1, "Probing", asked(4))), want: going, wake: whole, check: started()},
		"The confirmation came too early": {in: all(pending(1, "Probing", asked(4), confirming("3"))), want: going, wake: whole,
			check: first(func(g Gomega, e *v1alpha1.ControlPlaneNodeEnactment) { g.Expect(e.Annotations).To(BeEmpty()) })},
	})
}

func TestHowManyNodesAreInFlightAtOnce(t *testing.T) {
	for name, c := range map[string]struct {
		nodes   int
		edits   []edit
		started int
		reason  string // of the last node
	}{
		"One node":                       {1, nil, 0, "NoQuorumToSpare"},
		"One node, manual confirmation":  {1, []edit{manual}, 1, "Writing"},
		"Two nodes":                      {2, []edit{atOnce(16)}, 0, "NoQuorumToSpare"},
		"Two nodes, manual confirmation": {2, []edit{manual, atOnce(16)}, 1, "Queued"},
		"Three nodes":                    {3, nil, 1, "Queued"},
		"Three nodes, at most 16":        {3, []edit{atOnce(16)}, 1, "Queued"},
		"Four nodes, at most 16":         {4, []edit{atOnce(16)}, 1, "Queued"},
		"Five nodes":                     {5, nil, 1, "Queued"},
		"Five nodes, at most 2":          {5, []edit{atOnce(2)}, 2, "Queued"},
		"Five nodes, at most 16":         {5, []edit{atOnce(16)}, 2, "Queued"},
		"Five nodes, and another policy has one in flight": {5, []edit{atOnce(16), inFlight(1)}, 1, "Queued"},
		"Five nodes, one of which is not ready":            {5, []edit{atOnce(16), notReady(5)}, 0, "NodeNotReady"},
		"Three nodes, one of which is not ready":           {3, []edit{notReady(1)}, 0, "NodeNotReady"},
		"Two nodes, one of which is not ready":             {2, []edit{manual, notReady(1)}, 0, "NodeNotReady"},
		"No number declared":                               {5, []edit{atOnce(0)}, 1, "Queued"},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			var ready []edit
			for i := range c.nodes {
				ready = append(ready, pending(i+1, "Probing", asked(4)))
			}
			d := decide(t, input(c.nodes, append(ready, c.edits...)...))
			g.Expect(*rollout.CountPhases(d.Enactments).Progressing).To(BeEquivalentTo(c.started))
			g.Expect(phase(&d.Enactments[c.nodes-1]).Reason).To(Equal(c.reason))
		})
	}
}

func TestAPolicyWithTooFewNodesNamesTheRemedy(t *testing.T) {
	g := NewWithT(t)
	d := decide(t, input(2))
	g.Expect(phase(&d.Enactments[0]).Message).To(Equal(
		"With 2 nodes for etcd, etcd cannot lose a member: set spec.rollout.confirm to Manual, and confirm each node"))
}

func TestNamesOfEnactments(t *testing.T) {
	g := NewWithT(t)
	long := strings.Repeat("n", 253)
	g.Expect(rollout.EnactmentName("p", "cp-1")).To(Equal("p.cp-1"))
	g.Expect(rollout.EnactmentName("p", long[:251])).To(Equal("p." + long[:251]))
	g.Expect(len(rollout.EnactmentName("p", long))).To(BeNumerically("<=", 253))
	g.Expect(rollout.EnactmentName("p", long)).NotTo(Equal(rollout.EnactmentName("p", long[:252])))
	g.Expect(rollout.EnactmentName(strings.Repeat("p", 63), strings.Repeat("n.", 126)+"n")).To(HaveLen(252), "the name has no dot before the hash")
}

func TestCountsByPhase(t *testing.T) {
	g := NewWithT(t)
	g.Expect(rollout.CountPhases(nil)).To(BeNil())
	given := input(6, pending(1, "x"), progressing(2, "x"), enforced(3), reverted(4, "x"), aborted(5))
	var enactments []v1alpha1.ControlPlaneNodeEnactment
	for _, n := range given.Nodes[:5] {
		enactments = append(enactments, *n.Enactment)
	}
	enactments = append(enactments, v1alpha1.ControlPlaneNodeEnactment{})
	g.Expect(rollout.CountPhases(enactments)).To(Equal(&v1alpha1.NodeCounts{
		Pending: ptr.To(int32(2)), Progressing: ptr.To(int32(1)), Enforced: ptr.To(int32(1)), Reverted: ptr.To(int32(1)), Aborted: ptr.To(int32(1)),
	}))
}

func TestRulesetForANode(t *testing.T) {
	for name, c := range map[string]struct {
		edit    edit
		version string
		scoped  bool
	}{
		"The node has no enactment": {func(*rollout.Input) {}, "", false},
		"Pending":                   {pending(1, "x", version("new", "old")), "old", false},
		"Progressing":               {progressing(1, "x", version("new", "old")), "new", false},
		"Progressing, scoped":       {progressing(1, "x", version("new", "old"), scopedFor(9)), "new", true},
		"Enforced":                  {enforced(1, version("new", "old")), "new", false},
		"Enforced, scoped":          {enforced(1, version("new", "old"), scopedFor(9)), "new", true},
		"Pending, and scoped":       {pending(1, "x", version("new", "old"), wasScopedFor(9)), "old", true},
		"Pending without rules":     {pending(1, "x", version("new", ""), wasScopedFor(9)), "", false},
		"Reverted":                  {reverted(1, "x", version("new", "old"), scopedFor(9)), "old", false},
		"Aborted":                   {aborted(1, version("new", "old"), scopedFor(9)), "old", false},
		"Several rulesets at once: the most restrictive one": {progressing(1, "x", version("new", "old"), func(e *v1alpha1.ControlPlaneNodeEnactment) {
			e.Status.Conditions[3].Status = metav1.ConditionTrue
		}), "old", false},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			g.Expect(rollout.RulesetFor(input(1, c.edit).Nodes[0].Enactment)).To(Equal(rollout.Ruleset{Version: c.version, FailsafesScoped: c.scoped}))
		})
	}
}
