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

// rolloutReason returns why not every node has the rules, empty if every node has the
// rules or there are no nodes.
func rolloutReason(in Input) string {
	reason := ""
	for i := range in.Rollout.Enactments {
		switch rollout.PhaseOf(&in.Rollout.Enactments[i]) {
		case v1alpha1.PhaseEnforced:
		case v1alpha1.PhaseReverted, v1alpha1.PhaseAborted:
			return v1alpha1.ReasonRolloutFailed
		default:
			reason = v1alpha1.ReasonRollingOut
		}
	}
	return reason
}

// describeNodes describes the nodes that are not Enforced: first reverted nodes, then
// nodes in flight, then the rest. Nodes with the same cause are described together.
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
		told = append(told, wording.ListNames(nodes[cause])+verb+cause)
	}
	return fmt.Sprintf("%d of %d nodes are enforced; %s", enforced, len(in.Rollout.Enactments), wording.ListPoints(told))
}

func phaseMessage(e *v1alpha1.ControlPlaneNodeEnactment, phase string) string {
	if condition := meta.FindStatusCondition(e.Status.Conditions, phase); condition != nil {
		return condition.Message
	}
	return ""
}

// describeRollBack tells why the policy is rolled back, and how far the roll back is.
func describeRollBack(in Input) string {
	text := fmt.Sprintf("The annotation %s rolls everything back that was written, until the annotation is removed: %s",
		v1alpha1.AnnotationRevert, wording.QuoteText(in.Policy.RollBackReason(), maxReason))
	if len(in.Remaining) > 0 {
		text += "; " + describeRemaining(in)
	}
	if len(in.History.Failures) > 0 {
		text += "; failed: " + wording.ListPoints(in.History.Failures)
	}
	return text
}

// maxReason is the maximum length in bytes of a reason given by a user.
const maxReason = 200

// PhaseEvent returns the event of a node entering a phase.
func PhaseEvent(e *v1alpha1.ControlPlaneNodeEnactment, phase string) Event {
	kind := corev1.EventTypeNormal
	if slices.Contains([]string{v1alpha1.PhaseReverted, v1alpha1.PhaseAborted}, phase) {
		kind = corev1.EventTypeWarning
	}
	note := fmt.Sprintf("Node %s: %s", e.Spec.Node, phaseMessage(e, phase))
	return Event{Type: kind, Reason: "Node" + phase, Action: "RollOut", Note: shortNote(note)}
}
