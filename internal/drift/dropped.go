// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
)

// droppingFinding returns the finding for a field with the claimed value that drops traffic.
func droppingFinding(object Shared, claim plan.Claim) (Finding, bool) {
	if claim.Dropped == "" {
		return Finding{}, false
	}
	state := v1alpha1.StateEndpointsMissing
	if claim.Forced {
		state = v1alpha1.StateForced
	}
	return Finding{
		Policy: claim.Policy.Name, Object: object.Object, Field: claim.Field, Cause: v1alpha1.CauseModified, State: state,
		Expected: claim.Want, Actual: claim.Want, Message: claim.Dropped,
	}, true
}
