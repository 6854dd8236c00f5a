// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"context"
	"errors"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/runtime"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/calicotest"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/pipeline"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/repair"
	"github.com/cpnp-dev/cpnp-operator/internal/schedule"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
	"github.com/cpnp-dev/cpnp-operator/internal/verify"
)

// While the cache may be stale, nothing is decided or written. A roll back of a node is
// written only if the API server cannot be asked.
func TestNoRestrictionFollowsFromAStaleCache(t *testing.T) {
	const progressing, pending = v1alpha1.PhaseProgressing, v1alpha1.PhasePending
	for name, test := range map[string]struct {
		phase          string
		old            bool
		unasked        error
		writes, widens bool
	}{
		"a node gets rules":                                         {phase: progressing, writes: true},
		"a node gets rules, and the cache may be stale":             {phase: progressing, old: true},
		"a node gets rules, and the API server does not answer":     {phase: progressing, old: true, unasked: errors.New("no answer")},
		"a node is rolled back":                                     {phase: pending, widens: true, writes: true},
		"a node is rolled back, and the cache may be stale":         {phase: pending, old: true},
		"a node is rolled back, and the API server does not answer": {phase: pending, old: true, unasked: errors.New("no answer"), widens: true},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			now, api := clocktesting.NewFakePassiveClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)), &counting{}
			r := &Reconciler{
				Client: api, Rollouts: pipeline.Rollouts{Stages: &schedule.Stages{Time: 0}},
				Repairer: repair.Repairer{Clock: now, History: drift.NewHistory(), Report: func(string) {}},
			}
			snapshot := calicotest.Snapshot(func(*v1alpha1.ControlPlaneNetworkPolicy) {})
			snapshot.Unconfirmed, snapshot.ConfirmError = test.old, test.unasked
			snapshot.Enactments = []v1alpha1.ControlPlaneNodeEnactment{
				calicotest.Enactment("cp-1", test.phase, ""), calicotest.Enactment("cp-2", v1alpha1.PhaseEnforced, ""), calicotest.Enactment("cp-3", v1alpha1.PhaseEnforced, ""),
			}
			o := observed(g, snapshot)
			if test.old {
				r.Rollouts.Decide(&o, now.Now())
				_, err := r.recordRollout(t.Context(), &o)
				g.Expect(err).NotTo(HaveOccurred(), "no record is written")
			}
			_, err := r.apply(t.Context(), &o)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(api.applied > 0).To(Equal(test.writes))
			g.Expect(len(api.deleted) > 0).To(Equal(test.widens))
		})
	}
}

// After a start the operator reports nothing about nodes before the first decision: all
// rendered objects may exist without an enactment.
func TestReportsWaitForTheFirstDecision(t *testing.T) {
	g := NewWithT(t)
	now := clocktesting.NewFakePassiveClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	r := &Reconciler{
		Rollouts: pipeline.Rollouts{Stages: &schedule.Stages{Time: timing.StageSettle}},
	}
	snapshot := calicotest.Snapshot(func(*v1alpha1.ControlPlaneNetworkPolicy) {})
	snapshot.Enactments = nil
	o := observed(g, snapshot)
	again := r.Rollouts.Decide(&o, now.Now())
	g.Expect(o.Settling()).To(BeTrue())
	g.Expect(again).To(Equal(timing.StageSettle))
}

func observed(g Gomega, snapshot state.Snapshot) pipeline.Assessment {
	policies := plan.Compile(snapshot.Policies)
	o := pipeline.Assessment{
		Policy: &policies[0], Policies: policies, Snapshot: snapshot, Verdict: verify.Verdict{Holds: true},
		Hosts: plan.HostProtection(&policies[0], policies, snapshot),
	}
	g.Expect(o.Hosts.Rendered()).To(BeTrue())
	o.HostDiff = drift.CompareHosts(&policies[0], policies, o.Hosts, snapshot.Backend)
	return o
}

// counting counts the applied objects.
type counting struct {
	obedient
	applied int
}

func (c *counting) Apply(context.Context, runtime.ApplyConfiguration, ...client.ApplyOption) error {
	c.applied++
	return nil
}
