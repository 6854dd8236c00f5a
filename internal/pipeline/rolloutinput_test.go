// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"cmp"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
	"github.com/cpnp-dev/cpnp-operator/internal/schedule"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// trial is a node in a phase, with recent or pending writes.
type trial struct {
	scoped  bool // the failsafe ports are to be scoped
	has     string
	phase   string
	pending []plan.Object
	removal plan.Object
	wrote   schedule.Step
	back    bool // the node was rolled back
	ago     time.Duration
}

func (c trial) input() (in rollout.Input, wait time.Duration) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	r := &Rollouts{Stages: &schedule.Stages{Time: timing.StageSettle}}
	r.Stages.Settling(now.Add(-time.Hour)) // the operator started then
	if c.wrote != (schedule.Step{}) {
		r.Stages.Wrote("p", c.wrote, now.Add(-c.ago))
	}
	if c.back {
		r.Stages.RolledBack("p", "cp-1", now.Add(-c.ago))
	}
	enactment := v1alpha1.ControlPlaneNodeEnactment{
		Spec: v1alpha1.ControlPlaneNodeEnactmentSpec{Policy: "p", Node: "cp-1"},
		Status: v1alpha1.ControlPlaneNodeEnactmentStatus{
			Ruleset: "new", Conditions: []metav1.Condition{{Type: c.phase, Status: metav1.ConditionTrue}},
		},
	}
	if c.scoped {
		enactment.Status.FailsafesScopedTime = &metav1.Time{Time: time.Unix(1, 0)}
	}
	o := &Assessment{
		Policy: &plan.Policy{ControlPlaneNetworkPolicy: &v1alpha1.ControlPlaneNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "p"}}},
		Hosts:  plan.Hosts{Whole: backend.Hosts{Version: "new", Nodes: []backend.Node{{Name: "cp-1", Ruleset: rollout.Ruleset{Version: "new"}}}}},
	}
	for _, object := range c.pending {
		o.HostDiff.Writes = append(o.HostDiff.Writes, drift.Write{Desired: object, Node: backend.TraitsOf(object).Node, Stage: backend.TraitsOf(object).Stage})
	}
	if c.removal != nil {
		o.HostDiff.Removals = []drift.Write{{Live: c.removal, Node: backend.TraitsOf(c.removal).Node, Stage: backend.TraitsOf(c.removal).Stage, RollsBack: true}}
	}
	live := v3.HostEndpoint{
		ObjectMeta: metav1.ObjectMeta{Name: "cpnp-cp-1", Labels: map[string]string{
			v1alpha1.LabelPolicy: "p", calico.LabelVersion: cmp.Or(c.has, "new"), calico.LabelEnforced: "true",
		}},
		Spec: v3.HostEndpointSpec{Node: "cp-1"},
	}
	o.Snapshot = state.Snapshot{
		Enactments: []v1alpha1.ControlPlaneNodeEnactment{enactment}, Backend: calico.Live{Endpoints: []v3.HostEndpoint{live}},
	}
	return r.input(o, now)
}

// A node counts as programmed once all writes for the node are made and have settled,
// including failsafe ports that are to be scoped.
func TestNodeIsProgrammedOnceItsWritesHaveSettled(t *testing.T) {
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
		"no pending write":                                     {trial{phase: under}, true, 0},
		"a pending endpoint":                                   {trial{phase: under, pending: []plan.Object{endpoint}}, false, 0},
		"an endpoint written just now":                         {trial{phase: under, wrote: schedule.Step{Number: backend.StageEndpoints}}, false, timing.StageSettle},
		"pending failsafe ports that are not to be scoped yet": {trial{phase: under, pending: []plan.Object{felix("cp-1")}}, true, 0},
		"pending failsafe ports that are to be scoped":         {trial{phase: under, scoped: true, pending: []plan.Object{felix("cp-1")}}, false, 0},
		"pending failsafe ports of another node":               {trial{phase: under, scoped: true, pending: []plan.Object{felix("cp-2")}}, true, 0},
		"scoped failsafe ports, while Felix restarts":          {trial{phase: under, scoped: true, wrote: schedule.Step{Number: backend.StageScopedFailsafes}, ago: 3 * time.Second}, false, 2 * time.Second},
		"scoped failsafe ports, after Felix has restarted":     {trial{phase: under, scoped: true, wrote: schedule.Step{Number: backend.StageScopedFailsafes}, ago: 5 * time.Second}, true, 0},
		"enforced, and someone else has opened failsafe ports": {trial{phase: done, scoped: true, pending: []plan.Object{felix("cp-1")}}, false, 0},
		"enforced without scoped failsafe ports":               {trial{phase: done, pending: []plan.Object{felix("cp-1")}}, true, 0},
		"rolled back, with failsafe ports still scoped":        {trial{phase: back, scoped: true, removal: felix("cp-1")}, false, 0},
		"rolled back, with failsafe ports opened just now":     {trial{phase: back, scoped: true, back: true, ago: time.Second}, false, 4 * time.Second},
		"rolled back and settled":                              {trial{phase: back, scoped: true, back: true, ago: 5 * time.Second}, true, 0},
		"pending, while rules without endpoints are written": {
			trial{phase: v1alpha1.PhasePending, pending: []plan.Object{&v3.GlobalNetworkPolicy{}}, wrote: schedule.Step{Number: backend.StageRules}}, true, 0,
		},
		"on trial with other rules":                    {trial{phase: under, has: "old"}, false, 0},
		"pending, while another node was just started": {trial{phase: v1alpha1.PhasePending, wrote: schedule.Step{Number: backend.StageEndpoints}}, true, 0},
		"on trial with a pending set":                  {trial{phase: under, pending: []plan.Object{&v3.GlobalNetworkSet{}}}, false, 0},
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
