// SPDX-License-Identifier: Apache-2.0

package judge

import (
	"cmp"
	"slices"
	"strings"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/verify"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// check looks for one cause that makes the restrictions on nodes ineffective. The
// result is nil if the cause is absent.
type check func(plan.Hosts, calico.Live) *verify.Verdict

// checks are in the order of damage: a whole node, or one of its interfaces, without
// restriction; a port open to every source; all IPv6 traffic; some traffic to some
// port; a bypass of one interface; and missing addresses, which matter to foreign
// policies only.
var checks = []check{
	findForeignEndpoints, findOpenFailsafes, findUnfilteredIPv6, findForeignPolicies, findInterfaceBypasses, findMissingAddresses,
}

// HostsEffective says whether the restrictions on nodes really act on packets, or names
// the cause: a foreign object, or the policy. The reason comes from the gravest
// finding; the message ends with the reasons of the other findings.
//
// The judgement rests on the objects in Calico's API. docs/calico.md lists causes
// without a trace in the API.
//
// If a node cannot be judged, the other findings are worthless, and the verdict is
// Unknown. The verdict is Unknown too if all findings are uncertain.
func HostsEffective(hosts plan.Hosts, live calico.Live) verify.Verdict {
	if verdict := unjudgedVerdict(hosts, live); verdict != nil {
		return *verdict
	}
	var found []*verify.Verdict
	for _, check := range checks {
		if verdict := check(hosts, live); verdict != nil {
			found = append(found, verdict)
		}
	}
	slices.SortStableFunc(found, func(a, b *verify.Verdict) int { return cmp.Compare(uncertaintyRank(a), uncertaintyRank(b)) })
	if len(found) == 0 {
		return verify.Verdict{
			Holds: true, Reason: v1alpha1.ReasonAsDeclared,
			Message: "Nothing bypasses the restrictions on " + wording.CountOf(len(hosts.Now.Nodes), "node"),
		}
	}
	worst := *found[0]
	var others []string
	for _, verdict := range found[1:] {
		others = wording.AppendUnique(others, verdict.Reason)
	}
	if len(others) > 0 {
		worst.Message += "; also found: " + strings.Join(others, ", ")
	}
	return worst
}

// uncertaintyRank puts certain findings before uncertain findings.
func uncertaintyRank(v *verify.Verdict) int {
	if v.Unknown {
		return 1
	}
	return 0
}
