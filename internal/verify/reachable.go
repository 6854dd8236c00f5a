// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"fmt"
	"strings"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// maxOverride is how much of a reason a message quotes.
const maxOverride = 200

// Reachable says whether the writes that a report is about leave open what the
// control plane requires. Otherwise they are not made, unless somebody overrides
// that with a reason, which is not blank. What is cut already holds up nothing:
// not to write would not heal it.
func Reachable(report LockoutReport, override string) Verdict {
	override = strings.TrimSpace(override)
	switch {
	case len(report.Cuts) > 0 && override != "":
		return Verdict{
			Holds: true, Reason: v1alpha1.ReasonOverridden,
			Message: fmt.Sprintf("Required flows may be cut, because the annotation %s says so (%q): %s",
				v1alpha1.AnnotationAllowLockout, wording.Shorten(override, maxOverride), tellCuts(report.Cuts)),
		}
	case len(report.Cuts) > 0:
		return Verdict{
			Reason: v1alpha1.ReasonRequiredFlowCut,
			Message: fmt.Sprintf("Required flows would be cut: %s: correct the policy that is named, or, to write all the same, "+
				"set the annotation %s to the reason why", tellCuts(report.Cuts), v1alpha1.AnnotationAllowLockout),
		}
	case len(report.Already) > 0:
		return Verdict{
			Holds: true, Reason: v1alpha1.ReasonVerified,
			Message: "Required flows are already cut by what is there, and not by what this policy would write: " + tellCuts(report.Already),
		}
	}
	return Verdict{Holds: true, Reason: v1alpha1.ReasonVerified, Message: "No required flow is cut"}
}

// tellCuts tells one example of each flow that is cut for a reason of its own.
func tellCuts(cuts []Cut) string {
	type cause struct {
		flow, tier, policy string
		rule               int
	}
	var told []string
	known := map[cause]bool{}
	for _, cut := range cuts {
		why := cut.Verdict.Reason
		c := cause{cut.Name, why.Tier, why.Policy, why.Rule}
		if !known[c] {
			known[c] = true
			told = append(told, cut.String())
		}
	}
	return wording.Points(told)
}
