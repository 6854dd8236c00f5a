// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"fmt"
	"slices"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// maxOverride is how much of a reason a message quotes.
const maxQuotedReason = 200

// Reachable says whether the writes that a report is about leave open what the
// control plane requires. Otherwise they are not made, unless somebody overrides
// that with a reason, which is not blank. What is cut already holds up nothing:
// not to write would not heal it. Where it is not known what becomes of a flow, a
// write may well be what cuts it.
func RequiredFlowsKept(report LockoutReport, override string) Verdict {
	cut, doubtful, already := report.byCertainty()
	switch {
	case len(cut)+len(doubtful)+len(already) == 0:
		return Verdict{Holds: true, Reason: v1alpha1.ReasonVerified, Message: "No required flow is cut"}
	case !wording.Blank(override):
		return overriddenVerdict(report, override)
	case len(cut) > 0:
		return Verdict{
			Reason: v1alpha1.ReasonRequiredFlowCut,
			Message: fmt.Sprintf("Required flows would be cut: %s: correct the policy that is named, or, to write all the same, "+
				"set the annotation %s to the reason why", describeCuts(slices.Concat(cut, doubtful)), v1alpha1.AnnotationAllowLockout),
		}
	case len(doubtful) > 0:
		return Verdict{
			Reason: v1alpha1.ReasonNotJudged,
			Message: fmt.Sprintf("It cannot be told whether required flows would be cut: %s. Nothing is written: correct what is named, "+
				"or, to write all the same, set the annotation %s to the reason why", describeCuts(doubtful), v1alpha1.AnnotationAllowLockout),
		}
	}
	return Verdict{
		Holds: true, Reason: v1alpha1.ReasonVerified,
		Message: "Required flows are already cut by what is there, and not by what this policy would write: " + describeCuts(already) +
			". No further node is begun until that is mended, or the annotation " + v1alpha1.AnnotationAllowLockout + " has the reason why",
	}
}

// sorted returns the flows that the writes would cut, those of which it is not known
// what becomes of them, and those that are cut already.
func (r LockoutReport) byCertainty() (cut, doubtful, already []Cut) {
	for _, c := range r.Cuts {
		if c.isUncertain() {
			doubtful = append(doubtful, c)
		} else {
			cut = append(cut, c)
		}
	}
	for _, c := range r.AlreadyCut {
		if c.isUncertain() {
			doubtful = append(doubtful, c)
		} else {
			already = append(already, c)
		}
	}
	return cut, doubtful, already
}

// Doubt tells the flows of which it is not known what becomes of them, and Broken one
// that is cut, or would be. Both are empty if there is none.
func (r LockoutReport) UncertainFlows() string {
	_, doubtful, _ := r.byCertainty()
	return describeCuts(doubtful)
}

// Broken is told with Doubt.
func (r LockoutReport) FirstCut() string {
	cut, _, already := r.byCertainty()
	if all := slices.Concat(cut, already); len(all) > 0 {
		return all[0].String()
	}
	return ""
}

// overridden says what is written in spite of what, and because of whom.
func overriddenVerdict(report LockoutReport, override string) Verdict {
	cut, doubtful, already := report.byCertainty()
	what, flows := "Required flows may be cut, because", slices.Concat(cut, doubtful)
	switch {
	case len(flows) == 0:
		what, flows = "Required flows are already cut by what is there, and nodes are begun all the same, because", already
	case len(cut) == 0:
		what = "It cannot be told whether required flows are cut, and it is written all the same, because"
	}
	return Verdict{
		Holds: true, Reason: v1alpha1.ReasonOverridden,
		Message: fmt.Sprintf("%s the annotation %s says so (%s): %s",
			what, v1alpha1.AnnotationAllowLockout, wording.Quoted(override, maxQuotedReason), describeCuts(flows)),
	}
}

// tellCuts tells one example of each flow that is cut for a reason of its own.
func describeCuts(cuts []Cut) string {
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
