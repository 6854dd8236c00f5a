// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"cmp"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/repair"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
	"github.com/cpnp-dev/cpnp-operator/internal/schedule"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// trial is a node under way, of which something was written, or is still to be.
type trial struct {
	narrow  bool // its failsafe ports are to be narrow
	has     string
	phase   string
	pending []plan.Object
	removal plan.Object
	wrote   schedule.Step
	back    bool // something was taken back
	ago     time.Duration
}

func (c trial) input() (in rollout.Input, wait time.Duration) {
	now := clocktesting.NewFakePassiveClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	r := &Reconciler{Stages: &schedule.Stages{Time: timing.StageSettle}, Repairer: repair.Repairer{Clock: now}}
	r.Stages.Settling(now.Now().Add(-time.Hour)) // the operator started then
	if c.wrote != (schedule.Step{}) {
		r.Stages.Wrote("p", c.wrote, now.Now().Add(-c.ago))
	}
	if c.back {
		r.Stages.RolledBack("p", "cp-1", now.Now().Add(-c.ago))
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
		hosts:  plan.Hosts{Whole: backend.Hosts{Version: "new", Nodes: []backend.Node{{Name: "cp-1", Ruleset: rollout.Ruleset{Version: "new"}}}}},
	}
	for _, object := range c.pending {
		o.hostDiff.Writes = append(o.hostDiff.Writes, drift.Write{Desired: object, Node: backend.TraitsOf(object).Node, Stage: backend.TraitsOf(object).Stage})
	}
	if c.removal != nil {
		o.hostDiff.Removals = []drift.Write{{Live: c.removal, Node: backend.TraitsOf(c.removal).Node, Stage: backend.TraitsOf(c.removal).Stage, RollsBack: true}}
	}
	live := v3.HostEndpoint{
		ObjectMeta: metav1.ObjectMeta{Name: "cpnp-cp-1", Labels: map[string]string{
			v1alpha1.LabelPolicy: "p", calico.LabelVersion: cmp.Or(c.has, "new"), calico.LabelEnforced: "true",
		}},
		Spec: v3.HostEndpointSpec{Node: "cp-1"},
	}
	o.live = calico.Live{Endpoints: []v3.HostEndpoint{live}}
	return r.rolloutInput(o, state.Snapshot{Enactments: []v1alpha1.ControlPlaneNodeEnactment{enactment}, Backend: o.live})
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
		"Its endpoint was just written":                    {trial{phase: under, wrote: schedule.Step{Number: backend.StageEndpoints}}, false, timing.StageSettle},
		"Its failsafe ports are, and not to be narrow yet": {trial{phase: under, pending: []plan.Object{felix("cp-1")}}, true, 0},
		"They are to be narrow now":                        {trial{phase: under, narrow: true, pending: []plan.Object{felix("cp-1")}}, false, 0},
		"Those of another node are":                        {trial{phase: under, narrow: true, pending: []plan.Object{felix("cp-2")}}, true, 0},
		"They are narrow, and Felix is starting anew":      {trial{phase: under, narrow: true, wrote: schedule.Step{Number: backend.StageScopedFailsafes}, ago: 3 * time.Second}, false, 2 * time.Second},
		"They are narrow, and Felix has started anew":      {trial{phase: under, narrow: true, wrote: schedule.Step{Number: backend.StageScopedFailsafes}, ago: 5 * time.Second}, true, 0},
		"It is done, and somebody widened them":            {trial{phase: done, narrow: true, pending: []plan.Object{felix("cp-1")}}, false, 0},
		"It is done without":                               {trial{phase: done, pending: []plan.Object{felix("cp-1")}}, true, 0},
		"It goes back, and they are narrow still":          {trial{phase: back, narrow: true, removal: felix("cp-1")}, false, 0},
		"It goes back, and they are just being widened":    {trial{phase: back, narrow: true, back: true, ago: time.Second}, false, 4 * time.Second},
		"It has gone back":                                 {trial{phase: back, narrow: true, back: true, ago: 5 * time.Second}, true, 0},
		"It waits, and rules are written that concern nobody": {
			trial{phase: v1alpha1.PhasePending, pending: []plan.Object{&v3.GlobalNetworkPolicy{}}, wrote: schedule.Step{Number: backend.StageRules}}, true, 0,
		},
		"It is tried, and has other rules":         {trial{phase: under, has: "old"}, false, 0},
		"It waits, and another one was just begun": {trial{phase: v1alpha1.PhasePending, wrote: schedule.Step{Number: backend.StageEndpoints}}, true, 0},
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
