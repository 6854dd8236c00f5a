// SPDX-License-Identifier: Apache-2.0

package judge

import (
	"fmt"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/dataplane"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/verify"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// WhyUnjudged says why the effect of the restrictions on protected nodes cannot be
// judged, whatever the policies say; empty if the effect can be judged. The reason is
// for the conditions Verified and Effective.
func WhyUnjudged(hosts plan.Hosts, live calico.Live) (reason, why string) {
	var causes []string
	on := map[string][]string{}
	for _, node := range hosts.Whole.Nodes {
		cause, _ := dataplane.WhyUnmodelled(node.Name, live.Felix)
		if cause == "" {
			continue
		}
		reason = v1alpha1.ReasonNotJudged
		causes = wording.AppendUnique(causes, cause)
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

// unjudgedVerdict is WhyUnjudged as a verdict on the restrictions.
func unjudgedVerdict(hosts plan.Hosts, live calico.Live) *verify.Verdict {
	reason, why := WhyUnjudged(hosts, live)
	if reason == "" {
		return nil
	}
	return &verify.Verdict{Unknown: true, Reason: reason, Message: why + ". Whether the restrictions are effective is unknown"}
}
