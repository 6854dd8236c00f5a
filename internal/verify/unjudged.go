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

// Unjudged says why it cannot be judged what the restrictions do on protected nodes,
// whatever the policies there say; empty if it can. The reason is that of the
// conditions Verified and Effective.
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
		lines = append(lines, fmt.Sprintf("%s, on %s", cause, wording.Names(on[cause])))
	}
	return reason, "The operator cannot judge what host endpoints do on protected nodes: " + wording.Points(lines)
}

// Writable says whether something may be written to nodes on which nothing can be
// judged: only if somebody says so, with a reason that is not blank.
func UnjudgedWritable(reason, why, override string) Verdict {
	if !wording.Blank(override) {
		return Verdict{
			Holds: true, Reason: v1alpha1.ReasonOverridden,
			Message: fmt.Sprintf("%s. Nothing is verified, and it is written all the same, because the annotation %s says so (%s)",
				why, v1alpha1.AnnotationAllowLockout, wording.Quoted(override, maxQuotedReason)),
		}
	}
	return Verdict{
		Reason: reason,
		Message: fmt.Sprintf("%s. Nothing is written: change the configuration of Felix, leave these nodes out of spec.nodeSelector, "+
			"or, to write all the same, set the annotation %s to the reason why", why, v1alpha1.AnnotationAllowLockout),
	}
}

// unmodelled is Unjudged as a finding about what was written.
func unjudgedVerdict(hosts plan.Hosts, live state.Calico) *Verdict {
	reason, why := WhyUnjudged(hosts, live)
	if reason == "" {
		return nil
	}
	return &Verdict{Unknown: true, Reason: reason, Message: why + ". Whether the restrictions hold is not known"}
}
