// SPDX-License-Identifier: Apache-2.0

package uninstall

import (
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// describeLeft repeats, for each remaining policy, the operator's message about the
// deletion. A policy not present at the start was created since.
func describeLeft(policies []v1alpha1.ControlPlaneNetworkPolicy, there map[types.UID]bool) string {
	var lines []string
	for i := range policies {
		line := "policy " + policies[i].Name
		ready := meta.FindStatusCondition(policies[i].Status.Conditions, v1alpha1.ConditionReady)
		switch {
		case !there[policies[i].UID]:
			line += ": it was created since, and is not deleted: stop whatever creates it, such as a GitOps tool"
		case ready != nil && ready.Reason == v1alpha1.ReasonDeleting:
			line += ": " + ready.Message
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return wording.ListPoints(lines)
}

func uidsOf(policies []v1alpha1.ControlPlaneNetworkPolicy) map[types.UID]bool {
	uids := map[types.UID]bool{}
	for i := range policies {
		uids[policies[i].UID] = true
	}
	return uids
}
