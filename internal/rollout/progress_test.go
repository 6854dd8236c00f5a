// SPDX-License-Identifier: Apache-2.0

package rollout_test

import (
	"fmt"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
)

// one puts the first of three nodes in flight; the others are Pending.
func one(reason string, changes ...change) func(...edit) rollout.Input {
	return func(edits ...edit) rollout.Input {
		return input(3, append([]edit{progressing(1, reason, changes...), pending(2, "Queued"), pending(3, "Queued")}, edits...)...)
	}
}

// with returns changes and more.
func with(changes []change, more ...change) []change {
	return append(changes[:len(changes):len(changes)], more...)
}

// seen is a baseline: a worker and another control-plane node reached both ports before the rules.
var seen = []change{before("cp-2", open, open), before("worker", open, open)}

// well is two passed answers in probe round 7: as in the baseline, except for
// the port that the rules close to the worker.
var well = with(seen, found("cp-2", 7, open, open), found("worker", 7, open, dropped))

func TestHowANodeInFlightProgresses(t *testing.T) {
	stays := func(reason string) []string {
		return []string{"Progressing/" + reason, "Pending/Queued", "Pending/Queued"}
	}
	done := func(reason string) []string {
		return []string{"Enforced/" + reason, "Pending/Probing", "Pending/Queued"}
	}
	round := func(want int64, seconds int) func(Gomega, rollout.Decision) {
		return first(func(g Gomega, e *v1alpha1.ControlPlaneNodeEnactment) {
			g.Expect(e.Spec.ProbeRound).To(HaveValue(Equal(want)))
			g.Expect(e.Status.ProbeRequestTime).To(Equal(ago(seconds)))
		})
	}
	soaked := func(seconds int) func(Gomega, rollout.Decision) { // -1: no soak time
		return first(func(g Gomega, e *v1alpha1.ControlPlaneNodeEnactment) {
			if seconds < 0 {
				g.Expect(e.Status.SoakTime).To(BeNil())
			} else {
				g.Expect(e.Status.SoakTime).To(Equal(ago(seconds)))
			}
		})
	}
	const ms = time.Millisecond
	check(t, map[string]situation{
		"The rules are being written": {in: one("Writing", with(well, asked(103))...)(unprogrammed(1)),
			want: stays("Writing"), wake: 20500 * ms, check: round(7, 103)},
		"The rules are written: answers from before do not count": {in: one("Writing", well...)(),
			want: stays("Probing"), wake: 120500 * ms, check: round(8, 0)},
		"No connection of the baseline was open": {in: one("Writing", before("a", dropped, dropped))(), want: stays("Soaking"), wake: 60500 * ms, check: soaked(0)},
		"An observer has not answered": {in: one("Probing", with(seen, asked(120), found("cp-2", 7, open, open), found("worker", 6, open, open))...)(),
			want: stays("Probing"), wake: 500 * ms, check: round(7, 120)},
		"An observer without an open connection in its baseline has not answered": {
			in:   one("Probing", with(well, before("a", dropped, dropped), found("a", 6, dropped, dropped))...)(),
			want: stays("Soaking"), wake: 2500 * ms, check: soaked(0),
		},
		"The probes pass for the first time": {in: one("Probing", well...)(), want: stays("Soaking"), wake: 2500 * ms, check: soaked(0)},
		"A silent port was silent in the baseline": {
			in:   one("Probing", before("cp-2", silent, open), found("cp-2", 7, silent, open))(),
			want: stays("Soaking"), wake: 2500 * ms, check: soaked(0),
		},
		"A closed port was closed in the baseline": {
			in:   one("Probing", before("cp-2", open, refused), found("cp-2", 7, open, dropped))(),
			want: stays("Soaking"), wake: 2500 * ms, check: soaked(0),
		},
		"A closed port opens": {
			in:   one("Probing", before("cp-2", silent, dropped), found("cp-2", 7, open, open))(),
			want: stays("Soaking"), wake: 2500 * ms, check: soaked(0),
		},
		"The next probe round is due":       {in: one("Soaking", with(well, soakedFor(10), asked(5))...)(), want: stays("Soaking"), wake: 120500 * ms, check: round(8, 0)},
		"The next probe round is not due":   {in: one("Soaking", with(well, soakedFor(10), asked(4))...)(), want: stays("Soaking"), wake: 500 * ms, check: round(7, 4)},
		"A probe round is not answered yet": {in: one("Soaking", with(seen, soakedFor(10), asked(5), found("cp-2", 7, open, open))...)(), want: stays("Soaking"), wake: 115500 * ms, check: round(7, 5)},
		"The soak may lack fractions of a second": {in: one("Soaking", with(well, soakedFor(60))...)(),
			want: stays("Soaking"), wake: 500 * ms, check: soaked(60)},
		"The soak is over": {in: one("Soaking", with(well, soakedFor(61))...)(), want: done("Proven"), wake: 500 * ms, message: "Observers: 2; connections that were made before the rules, and are made with the rules: 3"},
		"The soak is over, and the last probe round is not answered": {in: one("Soaking", with(seen, soakedFor(61))...)(), want: stays("Soaking"), wake: 118500 * ms},
		"The soak is over, and the last probe request is long ago": {in: one("Soaking", with(well, soakedFor(100), asked(50))...)(),
			want: stays("Soaking"), wake: 120500 * ms, check: round(8, 0)},
		"The soak is over, and observers are slow": {in: one("Soaking", with(well, soakedFor(71), asked(14))...)(), want: done("Proven"), wake: 500 * ms},
		"The soak is over, and no observer with a baseline answered": {in: one("Soaking", soakedFor(61), found("a", 7, open, open))(), want: done("Unproven"), wake: 500 * ms,
			message: "what the rules do was not tried"},
		"No soak": {in: one("Probing", with(well, asked(20))...)(soak(0)), want: done("Proven"), wake: 500 * ms},
		"No soak, and no observer with a baseline":        {in: one("Writing")(soak(0)), want: done("Unproven"), wake: 2500 * ms},
		"A confirmation that the policy does not require": {in: one("Soaking", with(well, soakedFor(61), confirming("2"))...)(), want: done("Proven"), wake: 500 * ms},
		"No confirmation": {in: one("Soaking", with(well, soakedFor(61))...)(manual), want: stays("AwaitingConfirmation"),
			message: "rolled back at 2023-11-14T22:15:21Z unless somebody confirms it: kubectl annotate cpne p.cp-1 cpnp.dev/confirm=3", wake: 2500 * ms},
		"A confirmation of another generation": {in: one("AwaitingConfirmation", with(well, soakedFor(70), confirming("2"))...)(manual),
			want: stays("AwaitingConfirmation"), wake: 2500 * ms},
		"Probe rounds continue without a confirmation": {in: one("AwaitingConfirmation", with(well, soakedFor(80), asked(5))...)(manual),
			want: stays("AwaitingConfirmation"), wake: 101500 * ms, check: round(8, 0)},
		"A confirmation":                           {in: one("AwaitingConfirmation", with(well, soakedFor(80), confirming("3"))...)(manual), want: done("Proven"), wake: 500 * ms},
		"A confirmation during the soak":           {in: one("Soaking", with(well, soakedFor(61), confirming(" 3 "))...)(manual), want: done("Proven"), wake: 500 * ms},
		"A confirmation does not shorten the soak": {in: one("Soaking", with(well, soakedFor(10), confirming("3"))...)(manual), want: stays("Soaking"), wake: 2500 * ms},
		"A confirmation, and the last probe round is not answered": {in: one("AwaitingConfirmation", with(seen, soakedFor(80), confirming("3"))...)(manual),
			want: stays("AwaitingConfirmation"), wake: 118500 * ms},
		"A confirmation, and the time to confirm is over": {in: one("AwaitingConfirmation", with(well, soakedFor(500), asked(300), confirming("3"))...)(manual),
			want: done("Proven"), wake: 500 * ms},
		"No confirmation, and no observer with a baseline": {in: one("Soaking", soakedFor(61))(manual), want: stays("AwaitingConfirmation"), wake: 120500 * ms},
		"The soak is over: the failsafe ports are scoped": {in: one("Soaking", with(well, soakedFor(61), confirming("2"))...)(wantsScoped(1)),
			want: stays("Writing"), message: "failsafe ports are being scoped", wake: 120500 * ms,
			check: first(func(g Gomega, e *v1alpha1.ControlPlaneNodeEnactment) {
				g.Expect(e.Status.FailsafesScopedTime).To(Equal(ago(0)))
				g.Expect(e.Status.SoakTime).To(BeNil())
			})},
		"No soak: the failsafe ports are scoped nevertheless": {in: one("Probing", well...)(soak(0), wantsScoped(1)), want: stays("Writing"),
			message: "failsafe ports", wake: 120500 * ms, check: soaked(-1)},
		"The failsafe ports are scoped only after a confirmation": {in: one("Soaking", with(well, soakedFor(61))...)(manual, wantsScoped(1)),
			want: stays("AwaitingConfirmation"), wake: 2500 * ms, check: soaked(61)},
		"A confirmation: the failsafe ports are scoped": {in: one("AwaitingConfirmation", with(well, soakedFor(80), confirming("3"))...)(manual, wantsScoped(1)),
			want: stays("Writing"), message: "failsafe ports", wake: 120500 * ms, check: first(func(g Gomega, e *v1alpha1.ControlPlaneNodeEnactment) {
				g.Expect(e.Status.SoakTime).To(BeNil())
				g.Expect(e.Annotations).To(BeEmpty(), "scoped failsafe ports need a confirmation of their own")
			})},
		"The failsafe ports are being scoped": {in: one("Writing", with(well, scopedFor(20), asked(30))...)(unprogrammed(1), wantsScoped(1)),
			want: stays("Writing"), message: "failsafe ports", wake: 100500 * ms, check: round(7, 30)},
		"The failsafe ports are scoped: answers from before do not count": {in: one("Writing", with(well, scopedFor(9))...)(wantsScoped(1)),
			want: stays("Probing"), message: "failsafe ports are scoped", wake: 120500 * ms, check: round(8, 0)},
		"The probes pass with scoped failsafe ports": {in: one("Probing", with(well, scopedFor(9))...)(wantsScoped(1)), want: stays("Soaking"), message: "scoped", wake: 2500 * ms, check: soaked(0)},
		"The node soaks with scoped failsafe ports":  {in: one("Soaking", with(well, scopedFor(70), soakedFor(60))...)(wantsScoped(1)), want: stays("Soaking"), wake: 500 * ms, check: soaked(60)},
		"The soak is over, and the time of the probe request is unknown": {in: one("Soaking", with(well, soakedFor(61), func(e *v1alpha1.ControlPlaneNodeEnactment) {
			e.Status.ProbeRequestTime = nil
		})...)(), want: stays("Soaking"), wake: 120500 * ms, check: round(8, 0)},
		"The soak with scoped failsafe ports is over": {in: one("Soaking", with(well, scopedFor(70), soakedFor(61))...)(wantsScoped(1)), want: done("Proven"), wake: 500 * ms},
		"Scoped failsafe ports need another confirmation": {in: one("Soaking", with(well, scopedFor(70), soakedFor(61))...)(manual, wantsScoped(1)),
			want: stays("AwaitingConfirmation"), message: "The failsafe ports are scoped to the declared peers. The node passed", wake: 2500 * ms, check: soaked(61)},
		"The soak is over, and the failsafe ports are contested": {
			in:   one("Soaking", with(well, scopedFor(70), soakedFor(61))...)(wantsScoped(1), contested(1)),
			want: done("Proven"), wake: 500 * ms, check: soaked(-1),
		},
		"A confirmation of scoped failsafe ports": {in: one("AwaitingConfirmation", with(well, scopedFor(100), soakedFor(80), confirming("3"))...)(manual, wantsScoped(1)),
			want: done("Proven"), wake: 500 * ms},
		"Scoped failsafe ports, and no observer with a baseline": {in: one("Soaking", scopedFor(70), soakedFor(61))(wantsScoped(1)), want: done("Unproven"), wake: 2500 * ms},
		"The rules were removed: the node soaks again and needs another confirmation": {
			in: one("Soaking", with(well, soakedFor(70), startedFor(200), confirming("3"))...)(unprogrammed(1)), want: stays("Writing"), wake: 120500 * ms,
			check: first(func(g Gomega, e *v1alpha1.ControlPlaneNodeEnactment) {
				g.Expect(e.Status.SoakTime).To(BeNil())
				g.Expect(e.Annotations).To(BeEmpty())
			}),
		},
		"The failsafe ports on trial were opened": {
			in:   one("Soaking", with(well, scopedFor(80), soakedFor(70), startedFor(200))...)(unprogrammed(1), live(1, "new"), wantsScoped(1)),
			want: stays("Writing"), wake: 120500 * ms, check: soaked(-1),
		},
		"A write for another node is outstanding": {
			in:   one("Soaking", with(well, scopedFor(80), soakedFor(70), startedFor(200))...)(unprogrammed(1), live(1, "new"), wantsScoped(1), scoped(1)),
			want: stays("Writing"), wake: 120500 * ms, check: soaked(70),
		},
		"The rules were removed long after the start, and there is no observer": {in: one("Soaking", soakedFor(300), startedFor(400), asked(399))(unprogrammed(1)),
			want: stays("Writing"), wake: 120500 * ms, check: round(8, 0)},
		"A node that joined later is not ready": {in: one("Probing", well...)(notReady(3), created(3, 99)),
			want: []string{"Progressing/Soaking", "Pending/NodeNotReady", "Pending/NodeNotReady"}, wake: 2500 * ms},
		"The policy is no longer verified": {in: one("Probing", well...)(unverified),
			want: []string{"Progressing/Soaking", "Pending/NotVerified", "Pending/NotVerified"}, wake: 2500 * ms},
		"Two nodes in flight": {
			in: input(5, atOnce(2), progressing(1, "Soaking", with(well, soakedFor(30))...), progressing(2, "Probing"),
				pending(3, "Queued"), pending(4, "Queued"), pending(5, "Queued")),
			want: []string{"Progressing/Soaking", "Progressing/Soaking", "Pending/Queued", "Pending/Queued", "Pending/Queued"},
			wake: 2500 * ms,
		},
	})
}

func TestWhenANodeInFlightIsRolledBack(t *testing.T) {
	back := func(reason string) []string {
		return []string{"Reverted/" + reason, "Aborted/RolloutFailed", "Aborted/RolloutFailed"}
	}
	check(t, map[string]situation{
		"A required flow is cut":                                     {in: one("Writing")(cut, unprogrammed(1)), want: back("RequiredFlowCut"), message: "etcd to etcd"},
		"The policy can no longer be judged":                         {in: one("Writing")(unjudged, unprogrammed(1)), want: back("NotJudged"), message: "eBPF"},
		"The node is not ready":                                      {in: one("Soaking", with(well, soakedFor(9))...)(notReady(1)), want: back("NodeNotReady"), message: "cp-1"},
		"Another node is not ready":                                  {in: one("Writing")(notReady(3), unprogrammed(1)), want: back("NodeNotReady"), message: "cp-3"},
		"A node that joined in the second of the start is not ready": {in: one("Writing")(notReady(3), created(3, 100)), want: back("NodeNotReady"), message: "cp-3"},
		"The start time is unknown, and another node is not ready": {in: one("Writing", func(e *v1alpha1.ControlPlaneNodeEnactment) { e.Status.StartTime = nil })(unprogrammed(1)),
			want: back("ApplyFailed")},
		"The rules are not written in time":  {in: one("Writing", startedFor(121), asked(125))(unprogrammed(1)), want: back("ApplyFailed"), message: "within 120 s"},
		"The rules are missing for too long": {in: one("Writing", soakedFor(300), startedFor(400), asked(121))(unprogrammed(1)), want: back("ApplyFailed")},
		"An observer does not answer in time": {in: one("Probing", with(seen, asked(121), found("cp-2", 7, open, open))...)(),
			want: back("ProbeFailed"), message: "No answer within 120 s from worker"},
		"An observer stops answering": {in: one("Soaking", with(seen, asked(121), soakedFor(130), found("cp-2", 6, open, open), found("worker", 7, open, open))...)(soak(300)),
			want: back("ProbeFailed"), message: "from cp-2"},
		"An open port is found closed": {in: one("Probing", with(seen, found("cp-2", 7, open, refused))...)(),
			want: back("ProbeFailed"), message: "10.0.0.1:2379 from cp-2: Open before, Refused now"},
		"An open port is found silent": {in: one("Probing", with(seen, found("worker", 7, silent, dropped))...)(),
			want: back("ProbeFailed"), message: "10.0.0.1:6443 from worker: Open before, Silent now"},
		"A silent port is found closed": {in: one("Probing", before("worker", silent, open), found("worker", 7, dropped, dropped))(),
			want: back("ProbeFailed"), message: "10.0.0.1:6443 from worker: Silent before, Dropped now"},
		"An open port was not probed": {
			in: one("Probing", before("worker", open, open), found("worker", 7, open, open), func(e *v1alpha1.ControlPlaneNodeEnactment) {
				e.Status.Observers[0].Results = nil
			})(),
			want: back("ProbeFailed"), message: "10.0.0.1:6443 from worker: Open before, not tried now",
		},
		"A port closes with scoped failsafe ports": {in: one("Probing", with(seen, scopedFor(9), found("cp-2", 7, open, dropped))...)(wantsScoped(1)),
			want: back("ProbeFailed"), message: "10.0.0.1:2379 from cp-2: Open before, Dropped now"},
		"A port closes during the soak with scoped failsafe ports": {
			in:   one("Soaking", with(seen, scopedFor(70), soakedFor(50), found("cp-2", 7, open, dropped))...)(wantsScoped(1)),
			want: back("ProbeFailed"),
		},
		"A port closes with scoped, confirmed failsafe ports": {
			in:   one("Probing", with(seen, scopedFor(9), confirming("3"), found("cp-2", 7, open, dropped))...)(wantsScoped(1), manual),
			want: back("ProbeFailed"),
		},
		"An observer does not answer with scoped failsafe ports": {in: one("Probing", with(seen, scopedFor(125), asked(121))...)(wantsScoped(1)), want: back("ProbeFailed")},
		"Another node is not ready with scoped failsafe ports":   {in: one("Soaking", with(well, scopedFor(70), soakedFor(50))...)(wantsScoped(1), notReady(2)), want: back("NodeNotReady")},
		"The failsafe ports are not scoped in time":              {in: one("Writing", scopedFor(121), startedFor(300), asked(200))(wantsScoped(1), unprogrammed(1)), want: back("ApplyFailed")},
		"A port closes during the soak":                          {in: one("Soaking", with(seen, soakedFor(50), found("cp-2", 7, dropped, open))...)(), want: back("ProbeFailed")},
		"A port closes after the soak":                           {in: one("AwaitingConfirmation", with(seen, soakedFor(80), found("cp-2", 7, dropped, open))...)(manual), want: back("ProbeFailed")},
		"Several ports close": {
			in:   one("Probing", before("a", open, open), before("b", open, open), found("a", 7, dropped, dropped), found("b", 7, dropped, dropped))(),
			want: back("ProbeFailed"),
			message: "10.0.0.1:6443 from a: Open before, Dropped now, 10.0.0.1:2379 from a: Open before, Dropped now, " +
				"10.0.0.1:6443 from b: Open before, Dropped now and 1 more",
		},
		"No confirmation in time": {in: one("AwaitingConfirmation", with(well, soakedFor(182))...)(manual), want: back("NotConfirmed"), message: "within 120 s"},
		"No confirmation in time, and the last probe round is not answered": {in: one("AwaitingConfirmation", with(seen, soakedFor(182))...)(manual), want: back("NotConfirmed")},
		"No confirmation of scoped failsafe ports in time": {
			in: one("AwaitingConfirmation", with(well, scopedFor(300), soakedFor(182))...)(manual, wantsScoped(1)), want: back("NotConfirmed"), message: "within 120 s",
		},
		"Other nodes in flight are aborted, and enforced nodes stay": {
			in:   input(4, progressing(1, "Probing", with(seen, found("cp-2", 7, open, refused))...), progressing(2, "Soaking", soakedFor(61)), enforced(3), pending(4, "Queued")),
			want: []string{"Reverted/ProbeFailed", "Aborted/RolloutFailed", "Enforced/Proven", "Aborted/RolloutFailed"},
		},
		"A half-finished abort is completed": {
			in:   input(4, progressing(1, "Soaking", with(well, soakedFor(61))...), reverted(2, "ProbeFailed"), enforced(3), aborted(4)),
			want: []string{"Aborted/RolloutFailed", "Reverted/ProbeFailed", "Enforced/Proven", "Aborted/RolloutFailed"}, message: "because node cp-2 was",
		},
	})
}

func TestConfirmationIsAcceptedUntilTheLastSecond(t *testing.T) {
	g := NewWithT(t)
	d := decide(t, one("AwaitingConfirmation", with(well, soakedFor(181))...)(manual))
	g.Expect(phasesOf(d.Enactments)[0]).To(Equal("Progressing/AwaitingConfirmation"))
	g.Expect(d.WakeAfter).To(Equal(500 * time.Millisecond))
}

func TestAnObserverThatMovedToADeniedAddressFailsNoNode(t *testing.T) {
	g := NewWithT(t)
	in := one("Probing", with(seen, found("cp-2", 7, dropped, dropped), found("worker", 7, open, open))...)()
	in.Nodes[0].Expect = func(o v1alpha1.Observation, address string, port v1alpha1.PortNumber) rollout.Expectation {
		if o.Name == "cp-2" && o.ProbeRound == 7 {
			return rollout.AnyOutcome
		}
		return expect(o, address, port)
	}
	g.Expect(phasesOf(decide(t, in).Enactments)[0]).To(Equal("Progressing/Soaking"))
}

func TestPortsWithoutExpectationAreNotJudged(t *testing.T) {
	g := NewWithT(t)
	in := one("Writing", well...)()
	in.Nodes[0].Expect = nil
	g.Expect(phasesOf(decide(t, in).Enactments)[0]).To(Equal("Progressing/Soaking"))
}

func TestTargetsStayTheSameWhileANodeIsInFlight(t *testing.T) {
	g := NewWithT(t)
	in := one("Soaking", with(well, soakedFor(10), asked(5))...)()
	tried := in.Nodes[0].Enactment.Spec.Targets
	in.Nodes[0].Targets = nil
	d := decide(t, in)
	g.Expect(d.Enactments[0].Spec.ProbeRound).To(HaveValue(BeEquivalentTo(8)))
	g.Expect(d.Enactments[0].Spec.Targets).To(Equal(tried))
}

func TestAnEnactmentHasLimits(t *testing.T) {
	g := NewWithT(t)
	in := all()
	for i := range 100 {
		in.Nodes[0].Targets = append(in.Nodes[0].Targets, v1alpha1.ProbeTarget{Address: "fd00::1", Port: v1alpha1.PortNumber(i + 1)})
		in.Nodes[0].Enactment.Status.Observers = append(in.Nodes[0].Enactment.Status.Observers,
			v1alpha1.Observation{Name: fmt.Sprint(i), ProbeRound: 7})
	}
	in.Nodes[0].Enactment.Spec.Targets = in.Nodes[0].Targets[:64]
	d := decide(t, in)
	g.Expect(phasesOf(d.Enactments)[0]).To(Equal("Progressing/Writing"))
	g.Expect(d.Enactments[0].Spec.Targets).To(HaveLen(64))
	g.Expect(d.Enactments[0].Status.Baseline).To(HaveLen(16))
}
