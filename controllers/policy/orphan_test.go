// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"context"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/calicotest"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/pipeline"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/repair"
	"github.com/cpnp-dev/cpnp-operator/internal/reporter"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
	"github.com/cpnp-dev/cpnp-operator/internal/schedule"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
	"github.com/cpnp-dev/cpnp-operator/internal/verify"
)

// obedient is an API server that accepts every write, and notes the names of deleted objects.
type obedient struct {
	client.Client
	deleted []string
}

func (o *obedient) Apply(context.Context, runtime.ApplyConfiguration, ...client.ApplyOption) error {
	return nil
}

func (o *obedient) Patch(context.Context, client.Object, client.Patch, ...client.PatchOption) error {
	return nil
}

func (o *obedient) Delete(_ context.Context, object client.Object, _ ...client.DeleteOption) error {
	o.deleted = append(o.deleted, object.GetName())
	return nil
}

func (o *obedient) Status() client.SubResourceWriter { return obedientStatus{} }

type obedientStatus struct{ client.SubResourceWriter }

func (obedientStatus) Apply(context.Context, runtime.ApplyConfiguration, ...client.SubResourceApplyOption) error {
	return nil
}

func (obedientStatus) Patch(context.Context, client.Object, client.Patch, ...client.SubResourcePatchOption) error {
	return nil
}

// After a start the operator decides nothing for a moment. Nodes without an enactment keep
// their rules meanwhile.
func TestNodesWithoutAnEnactmentKeepTheirRulesBeforeADecision(t *testing.T) {
	for name, records := range map[string][]v1alpha1.ControlPlaneNodeEnactment{
		"no enactment":                 nil,
		"an enactment without a phase": {calicotest.Enactment("cp-1", "", ""), calicotest.Enactment("cp-2", "", ""), calicotest.Enactment("cp-3", "", "")},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			now := clocktesting.NewFakePassiveClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
			api := &obedient{}
			r := &Reconciler{
				Client: api, Rollouts: pipeline.Rollouts{Stages: &schedule.Stages{Time: timing.StageSettle}},
				Repairer: repair.Repairer{Clock: now, History: drift.NewHistory(), Report: func(string) {}},
			}
			snapshot := calicotest.Snapshot(func(*v1alpha1.ControlPlaneNetworkPolicy) {})
			snapshot.Enactments = records
			policies := plan.Compile(snapshot.Policies)
			o := pipeline.Assessment{
				Policy: &policies[0], Policies: policies, Snapshot: snapshot,
				Hosts: plan.HostProtection(&policies[0], policies, snapshot), Verdict: verify.Verdict{Holds: true},
			}
			g.Expect(o.Hosts.Rendered()).To(BeTrue())
			o.HostDiff = drift.CompareHosts(&policies[0], policies, o.Hosts, snapshot.Backend)
			g.Expect(r.Rollouts.Decide(&o, now.Now())).To(Equal(timing.StageSettle), "it is settling")
			_, err := r.apply(t.Context(), &o)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(api.deleted).To(BeEmpty())
		})
	}
}

// A deleted policy with deletionPolicy Orphan leaves tried rules, and rolls back rules on
// trial. If a roll back is impossible, the deletion waits for a while, and then an event
// names the node.
func TestOrphanedPolicyRollsBackRulesOnTrial(t *testing.T) {
	const progressing, pending, enforced = v1alpha1.PhaseProgressing, v1alpha1.PhasePending, v1alpha1.PhaseEnforced
	starting := calico.Live{Mode: calico.Undetected, Problem: "It is being found out", Settling: true}
	missing := calico.Live{Mode: calico.Aggregated, Problem: "it does not answer"}
	for name, test := range map[string]struct {
		change  func(*v1alpha1.ControlPlaneNetworkPolicy)
		phase   string
		calico  *calico.Live
		waited  time.Duration
		done    bool
		deleted []string
		told    bool
	}{
		"the rules were tried": {phase: enforced, done: true},
		"the rules are on trial: the decision is persisted first":     {phase: progressing},
		"the node is rolled back":                                     {phase: pending, deleted: []string{"cpnp-cp-1"}},
		"the node is rolled back, in mode Audit too":                  {phase: pending, deleted: []string{"cpnp-cp-1"}, change: func(p *v1alpha1.ControlPlaneNetworkPolicy) { p.Spec.Mode = v1alpha1.ModeAudit }},
		"the policy is suspended":                                     {phase: progressing, done: true, told: true, change: func(p *v1alpha1.ControlPlaneNetworkPolicy) { p.Spec.Suspend = true }},
		"the rules were tried, and the policy is suspended":           {phase: enforced, done: true, change: func(p *v1alpha1.ControlPlaneNetworkPolicy) { p.Spec.Suspend = true }},
		"Calico has not been read yet":                                {phase: pending, calico: &starting, waited: time.Hour},
		"Calico does not answer":                                      {phase: pending, calico: &missing},
		"Calico does not answer, and the wait is over":                {phase: pending, calico: &missing, waited: timing.CalicoPatience, done: true, told: true},
		"Calico does not answer, and the rules were tried":            {phase: enforced, calico: &missing, done: true},
		"Calico does not answer, and never had objects of the policy": {phase: pending, calico: &missing, done: true, change: func(p *v1alpha1.ControlPlaneNetworkPolicy) { p.Status.HostPolicies.Declared = nil }},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			now := clocktesting.NewFakePassiveClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
			api, recorder := &obedient{}, events.NewFakeRecorder(9)
			r := &Reconciler{
				Client: api, Rollouts: pipeline.Rollouts{Stages: &schedule.Stages{Time: timing.StageSettle}}, Reporter: &reporter.Reporter{Recorder: recorder},
				Repairer: repair.Repairer{Clock: now, History: drift.NewHistory(), Report: func(string) {}},
			}
			snapshot := calicotest.Snapshot(func(p *v1alpha1.ControlPlaneNetworkPolicy) {
				p.Spec.DeletionPolicy = v1alpha1.DeletionOrphan
				p.DeletionTimestamp = ptr.To(metav1.NewTime(now.Now().Add(-time.Minute)))
				if test.change != nil {
					test.change(p)
				}
			})
			snapshot.Enactments = []v1alpha1.ControlPlaneNodeEnactment{calicotest.Enactment("cp-1", test.phase, ""), calicotest.Enactment("cp-2", enforced, "")}
			if test.calico != nil {
				snapshot.Backend = *test.calico
			}
			policies := plan.Compile(snapshot.Policies)
			if test.waited > 0 {
				r.patience.Set("p", now.Now().Add(-test.waited))
			}
			settledRecords(r, &policies[0], policies, snapshot)
			o := assess(&policies[0], policies, snapshot)
			r.Rollouts.Decide(&o, now.Now())
			_, err := r.apply(t.Context(), &o)
			g.Expect(err).NotTo(HaveOccurred())
			_, err = r.recordRollout(t.Context(), &o)
			g.Expect(err).NotTo(HaveOccurred())
			result, err := r.findRemaining(t.Context(), &o)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(len(o.Remaining) == 0).To(Equal(test.done))
			g.Expect(result.RequeueAfter > 0).To(Equal(!test.done))
			g.Expect(api.deleted).To(Equal(test.deleted))
			g.Expect(len(untriedTold(recorder))).To(Equal(map[bool]int{true: 1}[test.told]))
		})
	}
}

// settledRecords persists the decided roll backs in the enactments.
func settledRecords(r *Reconciler, policy *plan.Policy, policies []plan.Policy, snapshot state.Snapshot) {
	o := assess(policy, policies, snapshot)
	r.Rollouts.Decide(&o, r.Clock.Now())
	for i, decided := range o.Rollout.Enactments {
		if rollout.PhaseOf(&snapshot.Enactments[i]) == v1alpha1.PhasePending {
			snapshot.Enactments[i] = decided
		}
	}
}

func untriedTold(recorder *events.FakeRecorder) (out []string) {
	for {
		select {
		case text := <-recorder.Events:
			if !strings.Contains(text, "keeps rules that were still being tried") {
				continue
			}
			out = append(out, text)
		default:
			return out
		}
	}
}
