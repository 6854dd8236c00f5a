// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"context"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/runtime"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/calicotest"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/pipeline"
	"github.com/cpnp-dev/cpnp-operator/internal/repair"
	"github.com/cpnp-dev/cpnp-operator/internal/schedule"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// applying is an obedient API server that notes the names of applied objects.
type applying struct {
	obedient
	applied []string
}

func (a *applying) Apply(_ context.Context, object runtime.ApplyConfiguration, _ ...client.ApplyOption) error {
	a.applied = append(a.applied, object.(interface{ GetName() string }).GetName())
	return nil
}

// While no operator ran, somebody deleted all host endpoints. Until the operator has decided in
// which order the nodes get their rules back, no endpoint is written: also not by a
// reconciliation that begins before the end of the settle time and writes after the end.
func TestNoEndpointIsWrittenBeforeADecision(t *testing.T) {
	for name, took := range map[string]time.Duration{"within the settle time": 0, "across the end of the settle time": 10 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			now, api := clocktesting.NewFakePassiveClock(start.Add(timing.StageSettle-5*time.Millisecond)), &applying{}
			r := &Reconciler{
				Client: api, Rollouts: pipeline.Rollouts{Stages: &schedule.Stages{Time: timing.StageSettle, Started: start}},
				Repairer: repair.Repairer{Clock: now, History: drift.NewHistory(), Report: func(string) {}},
			}
			snapshot := calicotest.Snapshot(func(*v1alpha1.ControlPlaneNetworkPolicy) {})
			version := observed(g, snapshot).Hosts.Whole.Version
			for _, node := range []string{"cp-1", "cp-2", "cp-3"} {
				e := calicotest.Enactment(node, v1alpha1.PhaseEnforced, "")
				e.Status.Ruleset = version
				snapshot.Enactments = append(snapshot.Enactments, e)
			}
			calicotest.Edit(&snapshot.Backend, func(c *calico.Live) { c.Endpoints = nil })
			a := observed(g, snapshot)
			var endpoints []drift.Write
			for _, w := range a.HostDiff.Writes {
				if w.Node != "" { // all objects for all nodes are in place
					endpoints = append(endpoints, w)
				}
			}
			g.Expect(endpoints).To(HaveLen(3))
			a.HostDiff.Writes = endpoints

			r.Rollouts.Decide(&a, now.Now())
			g.Expect(a.Undecided).To(BeTrue())
			now.SetTime(now.Now().Add(took))
			_, err := r.apply(t.Context(), &a)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(api.applied).To(BeEmpty())
		})
	}
}
