// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"fmt"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// WithHostObstacle limits a verdict that holds to the objects that were judged, if hosts
// are to be protected and cannot be. While Calico cannot be read whole, the verdict is
// unknown: nobody knows what foreign policies of Calico, together with the declared objects, do to
// the required flows.
func WithHostObstacle(verdict Verdict, hosts plan.Hosts, notes []string) Verdict {
	obstacle := hosts.Unprotected
	switch {
	case !verdict.Holds || obstacle == nil:
		return verdict
	case !plan.HoldsHostsOnly(obstacle.Reason):
		verdict.Message += "; objects for hosts are not judged, because none are written: see condition Programmed"
		return verdict
	}
	return Verdict{
		Unknown: true, Reason: obstacle.Reason,
		Message: "The objects for hosts cannot be judged until the operator has read the objects of Calico: " + obstacle.Message +
			". Nothing is written for hosts until then; all other declared objects are safe to write",
	}.WithNotes(notes)
}

// UnjudgedWritable says whether writes may be made to nodes that cannot be judged: only
// with a non-blank reason as the override.
func UnjudgedWritable(reason, why, override string) Verdict {
	if !wording.IsBlank(override) {
		return Verdict{
			Holds: true, Reason: v1alpha1.ReasonOverridden,
			Message: fmt.Sprintf("%s. Nothing is verified, and objects are written anyway, because the annotation %s says so (%s)",
				why, v1alpha1.AnnotationAllowLockout, wording.QuoteText(override, maxQuotedReason)),
		}
	}
	return Verdict{
		Reason: reason,
		Message: fmt.Sprintf("%s. Nothing is written: change the configuration of Felix, exclude these nodes from spec.nodeSelector, "+
			"or, to write anyway, set the annotation %s to the reason why", why, v1alpha1.AnnotationAllowLockout),
	}
}
