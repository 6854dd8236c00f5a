// SPDX-License-Identifier: Apache-2.0

package uninstall

import (
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// describeLeft says of each remaining policy what the operator says about the deletion.
func describeLeft(policies []v1alpha1.ControlPlaneNetworkPolicy) string {
	var lines []string
	for i := range policies {
		line := "policy " + policies[i].Name
		ready := meta.FindStatusCondition(policies[i].Status.Conditions, v1alpha1.ConditionReady)
		if ready != nil && ready.Reason == v1alpha1.ReasonDeleting {
			line += ": " + ready.Message
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return wording.ListPoints(lines)
}
