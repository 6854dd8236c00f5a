// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/verdict"
)

// VerdictOf returns the verdict on a node from the phase in its enactment, and the reason of
// the phase.
func VerdictOf(e *v1alpha1.ControlPlaneNodeEnactment) verdict.Verdict {
	phase := PhaseOf(e)
	condition := meta.FindStatusCondition(e.Status.Conditions, phase)
	if condition == nil {
		const undecided = "The operator has not decided about the node yet"
		return verdict.Verdict{Outcome: verdict.InProgress, Reason: v1alpha1.ReasonPending, Message: undecided}
	}
	v := verdict.Verdict{Outcome: verdict.Stalled, Reason: condition.Reason, Message: strings.TrimSuffix(phase+": "+condition.Message, ": ")}
	switch phase {
	case v1alpha1.PhaseEnforced:
		v.Outcome = verdict.Settled
	case v1alpha1.PhaseProgressing:
		v.Outcome = verdict.InProgress
	case v1alpha1.PhasePending:
		v.Outcome = verdict.OutcomeOf(condition.Reason)
	}
	return v
}

// setVerdicts writes the verdict on every node into its enactment, once the node has a
// phase.
func (r *run) setVerdicts() {
	for _, n := range r.nodeRuns {
		if PhaseOf(n.desired) != "" {
			SetVerdict(n.desired, r.now)
		}
	}
}

// SetVerdict writes the verdict on a node into its enactment. The phases stay the first
// conditions: kubectl get shows the first condition that is True.
func SetVerdict(e *v1alpha1.ControlPlaneNodeEnactment, now metav1.Time) {
	ready, reconciling, stalled := VerdictOf(e).ToConditions()
	for _, c := range []metav1.Condition{ready, reconciling, stalled} {
		if c.Status == "" {
			meta.RemoveStatusCondition(&e.Status.Conditions, c.Type)
			continue
		}
		c.LastTransitionTime = now
		meta.SetStatusCondition(&e.Status.Conditions, c)
	}
}
