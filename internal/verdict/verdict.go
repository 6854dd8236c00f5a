// SPDX-License-Identifier: Apache-2.0

// Package verdict has the single answer that kubectl, Argo CD, Flux and Helm read in an
// object: settled, in progress, or stalled. The answer is in the three conditions of
// kstatus: Ready, Reconciling and Stalled. The package is pure.
package verdict

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// Outcome is the kind of a verdict.
type Outcome string

// The outcomes.
const (
	// Settled: the cluster is as asked, and no work is left. Ready is True.
	Settled Outcome = "Settled"
	// InProgress: the operator is working, or waits for the cluster, and continues by
	// itself. Reconciling is True.
	InProgress Outcome = "InProgress"
	// Stalled: only a change by a person helps. Stalled is True.
	Stalled Outcome = "Stalled"
)

// Verdict is an outcome with its cause.
type Verdict struct {
	Outcome Outcome
	// Reason and Message are those of Ready and of Stalled, and of Reconciling if Work has
	// no reason.
	Reason, Message string
	// Unknown tells that Ready is Unknown, and not False.
	Unknown bool
	// Work is the operator's present work, if different from the reason.
	Work Work
}

// Work is the reason and the message of Reconciling.
type Work struct{ Reason, Message string }

// ToConditions returns the three conditions of a verdict. Of Reconciling and Stalled, at most
// one is present: the other has no status.
func (v Verdict) ToConditions() (ready, reconciling, stalled metav1.Condition) {
	ready = metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: v.Reason, Message: v.Message,
	}
	reconciling = metav1.Condition{Type: v1alpha1.ConditionReconciling}
	stalled = metav1.Condition{Type: v1alpha1.ConditionStalled}
	if v.Unknown {
		ready.Status = metav1.ConditionUnknown
	}
	switch v.Outcome {
	case Settled:
		ready.Status = metav1.ConditionTrue
	case InProgress:
		reconciling.Status, reconciling.Reason, reconciling.Message = metav1.ConditionTrue, v.Reason, v.Message
		if v.Work.Reason != "" {
			reconciling.Reason, reconciling.Message = v.Work.Reason, v.Work.Message
		}
	default:
		stalled.Status, stalled.Reason, stalled.Message = metav1.ConditionTrue, v.Reason, v.Message
	}
	return ready, reconciling, stalled
}
