// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"context"
	"errors"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/repair"
	"github.com/cpnp-dev/cpnp-operator/internal/schedule"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
	"github.com/cpnp-dev/cpnp-operator/internal/verify"
)

// Where it is not sure that what is on record is shown, nothing is decided, and nothing
// is written; what takes a node back is, if it will not be known soon.
func TestNothingThatRestrictsFollowsFromWhatMayBeOld(t *testing.T) {
	const progressing, pending = v1alpha1.PhaseProgressing, v1alpha1.PhasePending
	for name, test := range map[string]struct {
		phase          string
		old            bool
		unasked        error
		writes, widens bool
	}{
		"a node is to have rules":                                    {phase: progressing, writes: true},
		"a node is to have rules, and that may be old":               {phase: progressing, old: true},
		"a node is to have rules, and that may be old for long":      {phase: progressing, old: true, unasked: errors.New("no answer")},
		"a node is to go back":                                       {phase: pending, widens: true, writes: true},
		"a node is to go back, and that may be old":                  {phase: pending, old: true},
		"a node is to go back, and whether that is old is not known": {phase: pending, old: true, unasked: errors.New("no answer"), widens: true},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			now, api := clocktesting.NewFakePassiveClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)), &counting{}
			r := &Reconciler{
				Client: api, Stages: &schedule.Stages{Time: 0},
				Repairer: repair.Repairer{Clock: now, History: drift.NewHistory(), Report: func(string) {}},
			}
			snapshot := controlled(func(*v1alpha1.ControlPlaneNetworkPolicy) {})
			snapshot.Unconfirmed, snapshot.ConfirmError = test.old, test.unasked
			snapshot.Enactments = []v1alpha1.ControlPlaneNodeEnactment{
				enactmentIn("cp-1", test.phase, ""), enactmentIn("cp-2", v1alpha1.PhaseEnforced, ""), enactmentIn("cp-3", v1alpha1.PhaseEnforced, ""),
			}
			o := observed(g, snapshot)
			if test.old {
				r.decideRollout(&o, snapshot)
				_, err := r.recordRollout(t.Context(), &o, snapshot)
				g.Expect(err).NotTo(HaveOccurred(), "no record is written")
			}
			_, err := r.apply(t.Context(), &o)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(api.applied > 0).To(Equal(test.writes))
			g.Expect(len(api.deleted) > 0).To(Equal(test.widens))
		})
	}
}

// An operator that has only just begun tells nothing of nodes before it is decided how far
// they are: all that is rendered may be there, and nothing on record.
func TestNothingIsToldBeforeItIsDecided(t *testing.T) {
	g := NewWithT(t)
	now := clocktesting.NewFakePassiveClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	r := &Reconciler{
		Client: &counting{}, Stages: &schedule.Stages{Time: timing.StageSettle}, Reporter: &Reporter{Recorder: events.NewFakeRecorder(16)},
		Repairer: repair.Repairer{Clock: now, History: drift.NewHistory(), Report: func(string) {}},
	}
	snapshot := controlled(func(*v1alpha1.ControlPlaneNetworkPolicy) {})
	snapshot.Enactments = nil
	o := observed(g, snapshot)
	result := r.decideRollout(&o, snapshot)
	g.Expect(o.settling()).To(BeTrue())
	g.Expect(result.RequeueAfter).To(Equal(timing.StageSettle))
}

func observed(g Gomega, snapshot state.Snapshot) Observation {
	policies := plan.Compile(snapshot.Policies)
	o := Observation{
		policy: &policies[0], policies: policies, nodes: snapshot.Nodes, live: snapshot.Backend, verdict: verify.Verdict{Holds: true},
		unconfirmed: snapshot.Unconfirmed, unasked: snapshot.ConfirmError != nil,
		hosts: plan.HostProtection(&policies[0], policies, snapshot),
	}
	g.Expect(o.hosts.Rendered()).To(BeTrue())
	o.hostDiff = drift.CompareHosts(&policies[0], policies, o.hosts, snapshot.Backend)
	return o
}

// counting counts what it does.
type counting struct {
	obedient
	applied int
}

func (c *counting) Apply(context.Context, runtime.ApplyConfiguration, ...client.ApplyOption) error {
	c.applied++
	return nil
}
