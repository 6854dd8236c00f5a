// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// started returns the nodes that a decision starts.
func started(d rollout.Decision) []string {
	var out []string
	for i := range d.Enactments {
		if rollout.PhaseOf(&d.Enactments[i]) == v1alpha1.PhaseProgressing {
			out = append(out, d.Enactments[i].Spec.Node)
		}
	}
	return out
}

func inPhase(policy, node, phase string, edits ...func(*v1alpha1.ControlPlaneNodeEnactment)) v1alpha1.ControlPlaneNodeEnactment {
	e := v1alpha1.ControlPlaneNodeEnactment{
		Spec:   v1alpha1.ControlPlaneNodeEnactmentSpec{Policy: policy, Node: node},
		Status: v1alpha1.ControlPlaneNodeEnactmentStatus{Ruleset: "new", Conditions: []metav1.Condition{{Type: phase, Status: metav1.ConditionTrue}}},
	}
	for _, edit := range edits {
		edit(&e)
	}
	return e
}

// No two policies have a node of the control plane in flight at once, even
// before the cache shows the start that the other policy has just made.
func TestPoliciesStartNodesOneAfterTheOther(t *testing.T) {
	g := NewWithT(t)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	// waiting is a policy with one node whose probe request was sent, so that the node may start.
	waiting := func(policy, node string) rollout.Input {
		asked := metav1.NewTime(now.Add(-time.Hour))
		e := inPhase(policy, node, v1alpha1.PhasePending, func(e *v1alpha1.ControlPlaneNodeEnactment) {
			e.Status.Conditions[0].Reason, e.Status.ProbeRequestTime, e.CreationTimestamp, e.Status.PolicyGeneration = v1alpha1.ReasonProbing, &asked, asked, 1
		})
		return rollout.Input{
			Now: now, Policy: policy, Generation: 1, EtcdSize: 3,
			Nodes: []rollout.Node{{Name: node, Ready: true, Programmed: true, Enactment: &e, Declared: rollout.Ruleset{Version: "new"}}},
		}
	}
	var r Turns
	first, _ := r.Decide(waiting("a", "cp-1"), state.Snapshot{})
	g.Expect(started(first)).To(Equal([]string{"cp-1"}))

	second, wait := r.Decide(waiting("b", "cp-2"), state.Snapshot{})
	g.Expect(started(second)).To(BeEmpty(), "the cache does not show the start yet")
	g.Expect(wait).To(Equal(timing.StartVisible))

	shown := state.Snapshot{Enactments: first.Enactments}
	second, wait = r.Decide(waiting("b", "cp-2"), shown)
	g.Expect(started(second)).To(BeEmpty())
	g.Expect(wait).To(BeZero(), "no timer is needed, because the cache's update is an event")

	done := state.Snapshot{Enactments: []v1alpha1.ControlPlaneNodeEnactment{inPhase("a", "cp-1", v1alpha1.PhaseEnforced)}}
	second, _ = r.Decide(waiting("b", "cp-2"), done)
	g.Expect(started(second)).To(Equal([]string{"cp-2"}))

	// A start that could not be persisted blocks other policies only for a short time.
	now = now.Add(timing.StartVisible)
	third, _ := r.Decide(waiting("c", "cp-3"), done)
	g.Expect(started(third)).To(Equal([]string{"cp-3"}))
}

// A node that is to be rolled back counts as in flight until the rollback is complete.
func TestANodeIsInFlightUntilItIsRolledBack(t *testing.T) {
	with := func(version string) []backend.Endpoint {
		return []backend.Endpoint{{Name: "cpnp-cp-1", Node: "cp-1", Managed: true, Policy: "a", Version: version, Enforcing: true}}
	}
	before := func(e *v1alpha1.ControlPlaneNodeEnactment) { e.Status.PreviousRuleset = "old" }
	for name, test := range map[string]struct {
		e         v1alpha1.ControlPlaneNodeEnactment
		endpoints []backend.Endpoint
		want      bool
	}{
		"progressing":                        {inPhase("a", "cp-1", v1alpha1.PhaseProgressing), nil, true},
		"enforced":                           {inPhase("a", "cp-1", v1alpha1.PhaseEnforced), with("other"), false},
		"pending":                            {inPhase("a", "cp-1", v1alpha1.PhasePending), nil, false},
		"pending, with the previous rules":   {inPhase("a", "cp-1", v1alpha1.PhasePending, before), with("old"), false},
		"reverted, still with the new rules": {inPhase("a", "cp-1", v1alpha1.PhaseReverted), with("new"), true},
		"reverted, and rolled back":          {inPhase("a", "cp-1", v1alpha1.PhaseReverted, before), with("old"), false},
		"aborted, still with the new rules":  {inPhase("a", "cp-1", v1alpha1.PhaseAborted, before), with("new"), true},
		"reverted, with a foreign endpoint":  {inPhase("a", "cp-1", v1alpha1.PhaseReverted, before), nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			NewWithT(t).Expect(IsInFlight(&test.e, test.endpoints)).To(Equal(test.want))
		})
	}
}
