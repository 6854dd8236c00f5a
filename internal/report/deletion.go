// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// installAgain says what to do about a message that stays. An operator without rights
// cannot even report the lack of rights, so the message gives the advice beforehand.
const installAgain = ". If this message stays, no operator with its rights runs any more: install it again until the policy is gone"

func describeRemaining(in Input) string {
	return "left to restore: " + wording.ListPoints(in.Remaining)
}

// describeDeletion lists the objects left to restore for a policy in deletion, and the
// failures.
func describeDeletion(in Input) string {
	failed := ""
	if len(in.History.Failures) > 0 {
		failed = "; failed: " + wording.ListPoints(in.History.Failures)
	}
	switch {
	case len(in.Remaining) == 0 && failed != "":
		return fmt.Sprintf("The policy is being deleted; everything is restored, and only the finalizer %s is left%s. "+
			"Give the operator its rights again: install it again", v1alpha1.Finalizer, failed)
	case len(in.Remaining) == 0:
		return "The policy is being deleted; nothing is left to restore" + installAgain
	case failed != "":
		return "The policy is being deleted; " + describeRemaining(in) + failed + ". An object that the API server keeps refusing is soon " +
			"abandoned, unless it restricts hosts: make the API server accept the change, or delete the object by hand"
	}
	return "The policy is being deleted; " + describeRemaining(in) + installAgain
}
