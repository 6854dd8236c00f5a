// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"fmt"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/verify/dataplane"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// WhyUnjudged says why the effect of the restrictions on protected nodes cannot be
// judged, whatever the policies say; empty if the effect can be judged. The reason is
// for the conditions Verified and Effective.
func WhyUnjudged(hosts plan.Hosts, live state.Calico) (reason, why string) {
	var causes []string
	on := map[string][]string{}
	for _, node := range hosts.Whole.Nodes {
		cause, ebpf := dataplane.WhyUnmodelled(node.Name, live.Felix)
		if cause == "" {
			continue
		}
		if reason == "" || ebpf {
			reason = map[bool]string{true: v1alpha1.ReasonDataplaneNotSupported, false: v1alpha1.ReasonNotJudged}[ebpf]
		}
		causes = appendUnique(causes, cause)
		on[cause] = append(on[cause], node.Name)
	}
	if reason == "" {
		return "", ""
	}
	lines := make([]string, 0, len(causes))
	for _, cause := range causes {
		lines = append(lines, fmt.Sprintf("%s, on %s", cause, wording.ListNames(on[cause])))
	}
	return reason, "The operator cannot judge what host endpoints do on protected nodes: " + wording.ListPoints(lines)
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

// unjudgedVerdict is WhyUnjudged as a verdict on the restrictions.
func unjudgedVerdict(hosts plan.Hosts, live state.Calico) *Verdict {
	reason, why := WhyUnjudged(hosts, live)
	if reason == "" {
		return nil
	}
	return &Verdict{Unknown: true, Reason: reason, Message: why + ". Whether the restrictions are effective is unknown"}
}
