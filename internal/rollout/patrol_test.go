// SPDX-License-Identifier: Apache-2.0

package rollout_test

import (
	"math"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
)

// done is a node that has been Enforced for 100 s.
func done(changes ...change) func(...edit) rollout.Input {
	return func(edits ...edit) rollout.Input {
		return input(1, append([]edit{enforced(1, changes...)}, edits...)...)
	}
}

// since sets how long a node has been Enforced.
func since(seconds int) change {
	return func(e *v1alpha1.ControlPlaneNodeEnactment) { e.Status.Conditions[2].LastTransitionTime = *ago(seconds) }
}

func TestEnforcedNodesArePatrolled(t *testing.T) {
	finds := func(round int64, seconds int, connected ...string) func(Gomega, rollout.Decision) {
		return func(g Gomega, d rollout.Decision) {
			g.Expect(d.Enactments[0].Spec.ProbeRound).To(HaveValue(Equal(round)))
			g.Expect(d.Enactments[0].Status.ProbeRequestTime).To(Equal(ago(seconds)))
			g.Expect(d.ForbiddenConnections).To(Equal(connected))
		}
	}
	const open2379, ms = "10.0.0.1:2379 from worker: Open", time.Millisecond
	want, patrol, rest := []string{"Enforced/Proven"}, 300*time.Second-500*ms, 298*time.Second-500*ms
	worker := func(round int64, etcd v1alpha1.ProbeOutcome) change { return found("worker", round, open, etcd) }
	check(t, map[string]situation{
		"No observer exists":                                                                {in: done(asked(1000))(), want: want, check: finds(7, 1000)},
		"The node has no targets":                                                           {in: done(asked(1000), worker(7, open))(noTargets), want: want, check: finds(7, 1000)},
		"The rules are not programmed yet":                                                  {in: done(asked(1000), worker(7, open))(unprogrammed(1)), want: want, check: finds(7, 1000)},
		"No probe request since the node was enforced":                                      {in: done(asked(101), worker(7, open))(), want: want, wake: patrol, check: finds(9, 0)},
		"The probe request is of the second in which the node was enforced":                 {in: done(asked(100), worker(7, open))(), want: want, wake: patrol, check: finds(9, 0)},
		"The node was enforced this very second":                                            {in: done(asked(3), since(0), worker(7, open))(), want: want, wake: 500 * ms, check: finds(7, 3)},
		"A closed port is found closed":                                                     {in: done(worker(7, dropped))(), want: want, wake: rest, message: "as it was", check: finds(7, 2)},
		"A closed port is found open":                                                       {in: done(worker(7, open))(), want: want, wake: rest, message: "as it was", check: finds(7, 2, open2379)},
		"A closed port is found silent":                                                     {in: done(worker(7, silent))(), want: want, wake: rest, check: finds(7, 2, "10.0.0.1:2379 from worker: Silent")},
		"A closed port was open in the last probe round, and the current one is unanswered": {in: done(worker(6, open))(), want: want, wake: rest, check: finds(7, 2, open2379)},
		"A closed port was open two probe rounds ago, and the observer is silent since":     {in: done(worker(5, open))(), want: want, wake: rest, check: finds(7, 2)},
		"A closed port was open before the node was enforced":                               {in: done(asked(99), worker(5, open))(), want: want, wake: 201*time.Second - 500*ms, check: finds(7, 99)},
		"The next patrol is due":                                                            {in: done(since(400), asked(300), worker(7, open))(), want: want, wake: patrol, check: finds(8, 0, open2379)},
		"The next patrol is not due":                                                        {in: done(since(400), asked(299), worker(7, open))(), want: want, wake: 500 * ms, check: finds(7, 299, open2379)},
		"An open port is found closed": {in: done(before("worker", open, open), found("worker", 7, dropped, dropped))(), want: want, wake: rest,
			message: "as it was. But now: 10.0.0.1:6443 from worker: Open before, Dropped now", check: finds(7, 2)},
		"A port that was found closed is open again": {in: done(before("worker", open, open), worker(7, dropped), func(e *v1alpha1.ControlPlaneNodeEnactment) {
			e.Status.Conditions[2].Message = "Fine. But now: something"
		})(), want: want, wake: rest, message: "Fine", check: first(func(g Gomega, e *v1alpha1.ControlPlaneNodeEnactment) {
			g.Expect(phase(e).Message).To(Equal("Fine"))
		})},
		"A port without declared expectation is open": {in: done(worker(7, dropped), func(e *v1alpha1.ControlPlaneNodeEnactment) {
			o := &e.Status.Observers[0]
			o.Results = append(o.Results, v1alpha1.ProbeResult{Address: "10.0.0.1", Port: 22, Outcome: open})
		})(), want: want, wake: rest, check: finds(7, 2)},
		"The policy is rolled back": {in: done(worker(7, open))(rollBack), want: []string{"Reverted/RolledBack"}, check: finds(7, 2)},
	})
}

func TestProbeFindingsNameAddressAndPort(t *testing.T) {
	for address, want := range map[string]string{
		"fd00::1": "[fd00::1]:2379 from worker: Open",
		"odd":     "odd:2379 from worker: Open",
	} {
		g := NewWithT(t)
		in := done(found("worker", 7, open, open))()
		in.Nodes[0].Enactment.Status.Observers[0].Results[1].Address = address
		g.Expect(decide(t, in).ForbiddenConnections).To(Equal([]string{want}))
	}
}

func TestANodeIsPatrolledAtOnceWhenItIsEnforced(t *testing.T) {
	g := NewWithT(t)
	in := input(3, progressing(1, "Soaking", with(well, soakedFor(61), scopedFor(90))...), wantsScoped(1), enforced(2), enforced(3))
	in = next(in, decide(t, in))
	in.Now = in.Now.Add(2 * time.Second)
	g.Expect(decide(t, in).Enactments[0].Spec.ProbeRound).To(HaveValue(BeEquivalentTo(9)))
}

func TestForeignProbeRequestIsRepairedAtOnce(t *testing.T) {
	for name, change := range map[string]func(*v1alpha1.ControlPlaneNodeEnactmentSpec){
		"a foreign target": func(s *v1alpha1.ControlPlaneNodeEnactmentSpec) {
			s.Targets = []v1alpha1.ProbeTarget{{Address: "127.0.0.1", Port: 2379, Protocol: v1alpha1.ProbeTCP}}
		},
		"no targets":          func(s *v1alpha1.ControlPlaneNodeEnactmentSpec) { s.Targets = nil },
		"another probe round": func(s *v1alpha1.ControlPlaneNodeEnactmentSpec) { *s.ProbeRound = math.MaxInt64 },
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			in := input(1)
			asked := decide(t, in).Enactments[0]
			g.Expect(asked.HasOperatorsProbeRequest()).To(BeTrue())
			again := copied(in)
			again.Nodes[0].Enactment = asked.DeepCopy()
			g.Expect(decide(t, again).Enactments[0].Spec).To(Equal(asked.Spec), "the operator's own probe request is not repeated")

			changed := asked.DeepCopy()
			change(&changed.Spec)
			g.Expect(changed.HasOperatorsProbeRequest()).To(BeFalse())
			in.Nodes[0].Enactment = changed
			right := decide(t, in).Enactments[0]
			g.Expect(right.Spec.Targets).To(Equal(asked.Spec.Targets))
			g.Expect(right.Spec.ProbeRound).To(HaveValue(Equal(*asked.Spec.ProbeRound+1)), "the number of the probe round rises, so that no answer to the foreign request counts as an answer to this one")
			g.Expect(right.HasOperatorsProbeRequest()).To(BeTrue())
		})
	}
}
