// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// phasePrecedence lists all phases. If several are True by mistake, the first counts,
// because the first restricts least.
var phasePrecedence = []string{
	v1alpha1.PhaseReverted, v1alpha1.PhaseAborted, v1alpha1.PhasePending, v1alpha1.PhaseProgressing, v1alpha1.PhaseEnforced,
}

// PhaseOf returns the phase of a node, empty if the node has none yet.
func PhaseOf(e *v1alpha1.ControlPlaneNodeEnactment) string {
	if e == nil {
		return ""
	}
	for _, phase := range phasePrecedence {
		if meta.IsStatusConditionTrue(e.Status.Conditions, phase) {
			return phase
		}
	}
	return ""
}

// reasonOf returns the reason of the phase of a node.
func reasonOf(e *v1alpha1.ControlPlaneNodeEnactment) string {
	if c := meta.FindStatusCondition(e.Status.Conditions, PhaseOf(e)); c != nil {
		return c.Reason
	}
	return ""
}

// FailedInGeneration tells whether a node was reverted for a generation of the policy
// because of a failure.
func FailedInGeneration(e *v1alpha1.ControlPlaneNodeEnactment, generation int64) bool {
	return PhaseOf(e) == v1alpha1.PhaseReverted && reasonOf(e) != v1alpha1.ReasonRolledBack &&
		e.Status.PolicyGeneration == generation
}

// maxNameLength is the maximum length of the name of an object.
const maxNameLength = 253

// EnactmentName returns the name of an enactment: <policy>.<node>. Too long a name is
// shortened and ends in a hash.
func EnactmentName(policy, node string) string {
	return wording.ShortenName(policy+"."+node, maxNameLength)
}

// CountPhases counts enactments by phase. The result is nil without enactments.
// An enactment without a phase counts as Pending: the node was not started.
func CountPhases(enactments []v1alpha1.ControlPlaneNodeEnactment) *v1alpha1.NodeCounts {
	if len(enactments) == 0 {
		return nil
	}
	counts := map[string]int32{}
	for i := range enactments {
		counts[PhaseOf(&enactments[i])]++
	}
	return &v1alpha1.NodeCounts{
		Pending:     ptr.To(counts[v1alpha1.PhasePending] + counts[""]),
		Progressing: ptr.To(counts[v1alpha1.PhaseProgressing]),
		Enforced:    ptr.To(counts[v1alpha1.PhaseEnforced]),
		Reverted:    ptr.To(counts[v1alpha1.PhaseReverted]),
		Aborted:     ptr.To(counts[v1alpha1.PhaseAborted]),
	}
}
