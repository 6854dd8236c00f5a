// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// unfinished returns the reason for which not every node has the rules; empty if
// every node has, or there is none.
func rolloutReason(in Input) string {
	reason := ""
	for i := range in.Rollout.Enactments {
		switch rollout.PhaseOf(&in.Rollout.Enactments[i]) {
		case v1alpha1.PhaseEnforced:
		case v1alpha1.PhaseReverted, v1alpha1.PhaseAborted:
			return v1alpha1.ReasonRolledBack
		default:
			reason = v1alpha1.ReasonRollingOut
		}
	}
	return reason
}

// tellNodes tells of the nodes that do not have the rules, those first on which
// something is, or was, being done. What is so of several for the same reason is
// told once.
func describeNodes(in Input) string {
	var causes []string
	nodes := map[string][]string{}
	enforced := 0
	for _, phase := range []string{
		v1alpha1.PhaseReverted, v1alpha1.PhaseProgressing, v1alpha1.PhasePending, v1alpha1.PhaseAborted, v1alpha1.PhaseEnforced,
	} {
		for i := range in.Rollout.Enactments {
			e := &in.Rollout.Enactments[i]
			if rollout.PhaseOf(e) != phase {
				continue
			}
			if phase == v1alpha1.PhaseEnforced {
				enforced++
				continue
			}
			cause := strings.ToLower(phase) + ": " + phaseMessage(e, phase)
			if nodes[cause] == nil {
				causes = append(causes, cause)
			}
			nodes[cause] = append(nodes[cause], e.Spec.Node)
		}
	}
	told := make([]string, 0, len(causes))
	for _, cause := range causes {
		verb := " is "
		if len(nodes[cause]) > 1 {
			verb = " are "
		}
		told = append(told, wording.Names(nodes[cause])+verb+cause)
	}
	return fmt.Sprintf("%d of %d nodes are enforced; %s", enforced, len(in.Rollout.Enactments), wording.Points(told))
}

func phaseMessage(e *v1alpha1.ControlPlaneNodeEnactment, phase string) string {
	if condition := meta.FindStatusCondition(e.Status.Conditions, phase); condition != nil {
		return condition.Message
	}
	return ""
}

// takenBack says why, and how far that is.
func describeRollBack(in Input) string {
	text := fmt.Sprintf("The annotation %s takes everything back that was written, and keeps it so until it is removed: %s",
		v1alpha1.AnnotationRevert, wording.Quoted(in.Policy.TakenBack(), maxReason))
	if len(in.Remaining) > 0 {
		text += "; " + describeRemaining(in)
	}
	if len(in.History.Failures) > 0 {
		text += "; what failed: " + wording.Points(in.History.Failures)
	}
	return text
}

// maxReason is how much of a reason that somebody gave is told, in bytes.
const maxReason = 200

// PhaseBegan returns the event of a node that has come into a phase.
func PhaseEvent(e *v1alpha1.ControlPlaneNodeEnactment, phase string) Event {
	kind := corev1.EventTypeNormal
	if slices.Contains([]string{v1alpha1.PhaseReverted, v1alpha1.PhaseAborted}, phase) {
		kind = corev1.EventTypeWarning
	}
	note := fmt.Sprintf("Node %s: %s", e.Spec.Node, phaseMessage(e, phase))
	return Event{Type: kind, Reason: "Node" + phase, Action: "RollOut", Note: shortNote(note)}
}
