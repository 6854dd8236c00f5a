// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"fmt"
	"slices"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// maxQuotedReason is the length to which a message cuts the reason of an annotation.
const maxQuotedReason = 200

// RequiredFlowsKept says whether the reported writes keep all required flows open. If
// not, no write is made, unless the override is a non-blank reason. A flow that is cut already
// blocks no write: not writing would not repair the flow. An unknown decision blocks
// the writes: a write may be the cause of the cut.
func RequiredFlowsKept(report LockoutReport, override string) Verdict {
	cut, doubtful, already := report.byCertainty()
	switch {
	case len(cut)+len(doubtful)+len(already) == 0:
		return Verdict{Holds: true, Reason: v1alpha1.ReasonVerified, Message: "No required flow is cut"}
	case !wording.IsBlank(override):
		return overriddenVerdict(report, override)
	case len(cut) > 0:
		return Verdict{
			Reason: v1alpha1.ReasonRequiredFlowCut,
			Message: fmt.Sprintf("Required flows would be cut: %s: correct the named policy, or, to write anyway, "+
				"set the annotation %s to the reason why", describeCuts(slices.Concat(cut, doubtful)), v1alpha1.AnnotationAllowLockout),
		}
	case len(doubtful) > 0:
		return Verdict{
			Reason: v1alpha1.ReasonNotJudged,
			Message: fmt.Sprintf("The operator cannot tell whether required flows would be cut: %s. Nothing is written: correct the named object, "+
				"or, to write anyway, set the annotation %s to the reason why", describeCuts(doubtful), v1alpha1.AnnotationAllowLockout),
		}
	}
	return Verdict{
		Holds: true, Reason: v1alpha1.ReasonVerified,
		Message: "Required flows are already cut by objects in the cluster, and not by the writes of this policy: " + describeCuts(already) +
			". The rollout starts no further node until these flows are open; to start nodes anyway, set the annotation " +
			v1alpha1.AnnotationAllowLockout + " to the reason why",
	}
}

// byCertainty returns the flows that the writes would cut, the flows with an unknown
// decision, and the flows that are cut already.
func (r LockoutReport) byCertainty() (cut, doubtful, already []Cut) {
	for _, c := range r.Cuts {
		if c.IsUncertain() {
			doubtful = append(doubtful, c)
		} else {
			cut = append(cut, c)
		}
	}
	for _, c := range r.AlreadyCut {
		if c.IsUncertain() {
			doubtful = append(doubtful, c)
		} else {
			already = append(already, c)
		}
	}
	return cut, doubtful, already
}

// UncertainFlows describes the flows with an unknown decision; empty if there are none.
func (r LockoutReport) UncertainFlows() string {
	_, doubtful, _ := r.byCertainty()
	return describeCuts(doubtful)
}

// FirstCut describes the first flow that is certainly cut, now or after the writes;
// empty if there is none.
func (r LockoutReport) FirstCut() string {
	cut, _, already := r.byCertainty()
	if all := slices.Concat(cut, already); len(all) > 0 {
		return all[0].String()
	}
	return ""
}

// overriddenVerdict allows the writes in spite of the report, and says why.
func overriddenVerdict(report LockoutReport, override string) Verdict {
	cut, doubtful, already := report.byCertainty()
	what, flows := "Required flows may be cut, and objects are written anyway, because", slices.Concat(cut, doubtful)
	switch {
	case len(flows) == 0:
		what, flows = "Required flows are already cut by objects in the cluster, and nodes are started anyway, because", already
	case len(cut) == 0:
		what = "The operator cannot tell whether required flows are cut, and objects are written anyway, because"
	}
	return Verdict{
		Holds: true, Reason: v1alpha1.ReasonOverridden,
		Message: fmt.Sprintf("%s the annotation %s says so (%s): %s",
			what, v1alpha1.AnnotationAllowLockout, wording.QuoteText(override, maxQuotedReason), describeCuts(flows)),
	}
}

// describeCuts describes one example of each flow and cause.
func describeCuts(cuts []Cut) string {
	type cause struct{ flow, by string }
	var told []string
	known := map[cause]bool{}
	for _, cut := range cuts {
		c := cause{cut.Name, cut.Cause}
		if !known[c] {
			known[c] = true
			told = append(told, cut.String())
		}
	}
	return wording.ListPoints(told)
}
