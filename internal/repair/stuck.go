// SPDX-License-Identifier: Apache-2.0

package repair

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// StuckTaints returns a function that tells whether a node will not get a taint, however long the
// operator waits.
func StuckTaints(history *drift.History, records state.NodeRecords, policies []plan.Policy, now time.Time) plan.Stuck {
	return func(node *corev1.Node, claim plan.Claim) bool {
		shared := WithMemory(history, drift.SharedNode(node, drift.MoveRecord(node, records.OfNode(node).Record, policies)), node.UID)
		if history.FailingFor(shared.Object, now) >= timing.NodeUnwritable {
			return true
		}
		outcome := drift.CompareFields(shared, []plan.Claim{claim}, policies)
		return slices.ContainsFunc(outcome.Findings, func(f drift.Finding) bool { return f.State == v1alpha1.StateConflicted })
	}
}
