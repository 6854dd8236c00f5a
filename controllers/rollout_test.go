// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/plan/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// trial is a node under way, of which something was written, or is still to be.
type trial struct {
	narrow  bool // its failsafe ports are to be narrow
	has     string
	phase   string
	pending []plan.Object
	removal plan.Object
	wrote   step
	back    bool // something was taken back
	ago     time.Duration
}

func (c trial) input() (in rollout.Input, wait time.Duration) {
	now := clocktesting.NewFakePassiveClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	r := &PolicyReconciler{Stages: &Stages{Time: stageTime, started: now.Now().Add(-time.Hour)}, Repairer: Repairer{Clock: now}}
	if c.wrote != (step{}) {
		r.Stages.wrote("p", c.wrote, now.Now().Add(-c.ago))
	}
	if c.back {
		r.Stages.tookBack("p", "cp-1", now.Now().Add(-c.ago))
	}
	enactment := v1alpha1.ControlPlaneNodeEnactment{
		Spec: v1alpha1.ControlPlaneNodeEnactmentSpec{Policy: "p", Node: "cp-1"},
		Status: v1alpha1.ControlPlaneNodeEnactmentStatus{
			Ruleset: "new", Conditions: []metav1.Condition{{Type: c.phase, Status: metav1.ConditionTrue}},
		},
	}
	if c.narrow {
		enactment.Status.FailsafesScopedTime = &metav1.Time{Time: time.Unix(1, 0)}
	}
	o := &Observation{
		policy: &plan.Policy{ControlPlaneNetworkPolicy: &v1alpha1.ControlPlaneNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "p"}}},
		hosts:  plan.Hosts{Version: "new", Whole: calico.Hosts{Nodes: []calico.Node{{Name: "cp-1"}}}},
	}
	for _, object := range c.pending {
		o.hostDiff.Writes = append(o.hostDiff.Writes, drift.Write{Desired: object, Node: calico.NodeOf(object), Stage: calico.WriteStage(object)})
	}
	if c.removal != nil {
		o.hostDiff.Removals = []drift.Write{{Live: c.removal, Node: calico.NodeOf(c.removal), Stage: calico.WriteStage(c.removal), RollsBack: true}}
	}
	live := v3.HostEndpoint{
		ObjectMeta: metav1.ObjectMeta{Name: "cpnp-cp-1", Labels: map[string]string{
			v1alpha1.LabelPolicy: "p", calico.LabelVersion: cmp.Or(c.has, "new"), calico.LabelEnforced: "true",
		}},
		Spec: v3.HostEndpointSpec{Node: "cp-1"},
	}
	return r.rolloutInput(o, state.Snapshot{
		Enactments: []v1alpha1.ControlPlaneNodeEnactment{enactment}, Calico: state.Calico{Endpoints: []v3.HostEndpoint{live}},
	})
}

// What a node is tried with must have been written, and have had the time to reach
// it; failsafe ports too, once they are to be narrow.
func TestANodeIsProgrammedOnceItHasWhatItIsTriedWith(t *testing.T) {
	felix := func(node string) plan.Object {
		return &v3.FelixConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "node." + node}}
	}
	endpoint := &v3.HostEndpoint{Spec: v3.HostEndpointSpec{Node: "cp-1"}}
	const under, done, back = v1alpha1.PhaseProgressing, v1alpha1.PhaseEnforced, v1alpha1.PhaseReverted
	for name, c := range map[string]struct {
		trial
		want bool
		wait time.Duration
	}{
		"Nothing is left to write":                         {trial{phase: under}, true, 0},
		"Its endpoint is":                                  {trial{phase: under, pending: []plan.Object{endpoint}}, false, 0},
		"Its endpoint was just written":                    {trial{phase: under, wrote: enforce}, false, stageTime},
		"Its failsafe ports are, and not to be narrow yet": {trial{phase: under, pending: []plan.Object{felix("cp-1")}}, true, 0},
		"They are to be narrow now":                        {trial{phase: under, narrow: true, pending: []plan.Object{felix("cp-1")}}, false, 0},
		"Those of another node are":                        {trial{phase: under, narrow: true, pending: []plan.Object{felix("cp-2")}}, true, 0},
		"They are narrow, and Felix is starting anew":      {trial{phase: under, narrow: true, wrote: narrow, ago: 3 * time.Second}, false, 2 * time.Second},
		"They are narrow, and Felix has started anew":      {trial{phase: under, narrow: true, wrote: narrow, ago: 5 * time.Second}, true, 0},
		"It is done, and somebody widened them":            {trial{phase: done, narrow: true, pending: []plan.Object{felix("cp-1")}}, false, 0},
		"It is done without":                               {trial{phase: done, pending: []plan.Object{felix("cp-1")}}, true, 0},
		"It goes back, and they are narrow still":          {trial{phase: back, narrow: true, removal: felix("cp-1")}, false, 0},
		"It goes back, and they are just being widened":    {trial{phase: back, narrow: true, back: true, ago: time.Second}, false, 4 * time.Second},
		"It has gone back":                                 {trial{phase: back, narrow: true, back: true, ago: 5 * time.Second}, true, 0},
		"It waits, and rules are written that concern nobody": {
			trial{phase: v1alpha1.PhasePending, pending: []plan.Object{&v3.GlobalNetworkPolicy{}}, wrote: allow}, true, 0,
		},
		"It is tried, and has other rules":         {trial{phase: under, has: "old"}, false, 0},
		"It waits, and another one was just begun": {trial{phase: v1alpha1.PhasePending, wrote: enforce}, true, 0},
		"It is tried, and a set is to be written":  {trial{phase: under, pending: []plan.Object{&v3.GlobalNetworkSet{}}}, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			in, wait := c.input()
			g.Expect(in.Nodes).To(HaveLen(1))
			g.Expect(in.Nodes[0].Programmed).To(Equal(c.want))
			g.Expect(wait).To(Equal(c.wait))
		})
	}
}
