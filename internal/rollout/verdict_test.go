// SPDX-License-Identifier: Apache-2.0

package rollout_test

import (
	"testing"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
	"github.com/cpnp-dev/cpnp-operator/internal/verdict"
)

// states are all phases of a node with all their reasons.
var states = []struct {
	phase, reason string
	outcome       verdict.Outcome
}{
	{v1alpha1.PhasePending, v1alpha1.ReasonQueued, verdict.InProgress},
	{v1alpha1.PhasePending, v1alpha1.ReasonProbing, verdict.InProgress},
	{v1alpha1.PhasePending, v1alpha1.ReasonNotVerified, verdict.InProgress},
	{v1alpha1.PhasePending, v1alpha1.ReasonNodeNotReady, verdict.InProgress},
	{v1alpha1.PhasePending, v1alpha1.ReasonNoQuorumToSpare, verdict.Stalled},
	{v1alpha1.PhasePending, v1alpha1.ReasonForeignHostEndpoint, verdict.Stalled},
	{v1alpha1.PhasePending, v1alpha1.ReasonRequiredFlowCut, verdict.Stalled},
	{v1alpha1.PhaseProgressing, v1alpha1.ReasonWriting, verdict.InProgress},
	{v1alpha1.PhaseProgressing, v1alpha1.ReasonProbing, verdict.InProgress},
	{v1alpha1.PhaseProgressing, v1alpha1.ReasonSoaking, verdict.InProgress},
	{v1alpha1.PhaseProgressing, v1alpha1.ReasonAwaitingConfirmation, verdict.InProgress},
	{v1alpha1.PhaseEnforced, v1alpha1.ReasonProven, verdict.Settled},
	{v1alpha1.PhaseEnforced, v1alpha1.ReasonUnproven, verdict.Settled},
	{v1alpha1.PhaseReverted, v1alpha1.ReasonProbeFailed, verdict.Stalled},
	{v1alpha1.PhaseReverted, v1alpha1.ReasonNodeNotReady, verdict.Stalled},
	{v1alpha1.PhaseReverted, v1alpha1.ReasonRequiredFlowCut, verdict.Stalled},
	{v1alpha1.PhaseReverted, v1alpha1.ReasonNotJudged, verdict.Stalled},
	{v1alpha1.PhaseReverted, v1alpha1.ReasonApplyFailed, verdict.Stalled},
	{v1alpha1.PhaseReverted, v1alpha1.ReasonNotConfirmed, verdict.Stalled},
	{v1alpha1.PhaseReverted, v1alpha1.ReasonRolledBack, verdict.Stalled},
	{v1alpha1.PhaseAborted, v1alpha1.ReasonRolloutFailed, verdict.Stalled},
}

// inState returns the enactment of a node in a phase for a reason.
func inState(phase, reason string) *v1alpha1.ControlPlaneNodeEnactment {
	in := input(1, in(1, phase, reason))
	e := in.Nodes[0].Enactment
	rollout.SetVerdict(e, metav1.Time{Time: second})
	return e
}

func TestEveryPhaseHasAVerdict(t *testing.T) {
	for _, state := range states {
		t.Run(state.phase+" "+state.reason, func(t *testing.T) {
			g := NewWithT(t)
			e := inState(state.phase, state.reason)
			v := rollout.VerdictOf(e)
			g.Expect(v.Outcome).To(Equal(state.outcome))
			g.Expect(v.Reason).To(Equal(state.reason))
			g.Expect(v.Message).To(Equal(state.phase + ": as it was"))
			g.Expect([]bool{
				meta.IsStatusConditionTrue(e.Status.Conditions, v1alpha1.ConditionReady),
				meta.IsStatusConditionTrue(e.Status.Conditions, v1alpha1.ConditionReconciling),
				meta.IsStatusConditionTrue(e.Status.Conditions, v1alpha1.ConditionStalled),
			}).To(Equal([]bool{state.outcome == verdict.Settled, state.outcome == verdict.InProgress, state.outcome == verdict.Stalled}))
		})
	}
}

func TestDecisionHasTheVerdictAfterThePhases(t *testing.T) {
	for name, in := range map[string]rollout.Input{
		"new":                        input(1),
		"enforced":                   input(1, enforced(1)),
		"reverted by a past release": input(1, reverted(1, v1alpha1.ReasonProbeFailed)),
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			e := rollout.Decide(in).Enactments[0]
			var types []string
			for _, c := range e.Status.Conditions {
				types = append(types, c.Type)
			}
			g.Expect(types[:len(phases)]).To(ConsistOf(phases), "kubectl get shows the first condition that is True")
			g.Expect(types).To(ContainElement(v1alpha1.ConditionReady))
			ready := meta.FindStatusCondition(e.Status.Conditions, v1alpha1.ConditionReady)
			g.Expect(ready.Status == metav1.ConditionTrue).To(Equal(rollout.PhaseOf(&e) == v1alpha1.PhaseEnforced))
		})
	}
}

func TestVerdictFollowsThePhase(t *testing.T) {
	g := NewWithT(t)
	e := inState(v1alpha1.PhaseProgressing, v1alpha1.ReasonSoaking)
	for i := range e.Status.Conditions {
		c := &e.Status.Conditions[i]
		switch c.Type {
		case v1alpha1.PhaseProgressing:
			c.Status, c.Reason = metav1.ConditionFalse, v1alpha1.ReasonPhaseOver
		case v1alpha1.PhaseReverted:
			c.Status, c.Reason = metav1.ConditionTrue, v1alpha1.ReasonProbeFailed
		}
	}
	rollout.SetVerdict(e, metav1.Time{Time: second})
	g.Expect(meta.FindStatusCondition(e.Status.Conditions, v1alpha1.ConditionReconciling)).To(BeNil())
	g.Expect(meta.FindStatusCondition(e.Status.Conditions, v1alpha1.ConditionStalled)).To(HaveField("Reason", v1alpha1.ReasonProbeFailed))
}
