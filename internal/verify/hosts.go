// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// check looks for one thing that makes the restrictions on nodes void. It
// returns nil if there is none.
type check func(plan.Hosts, state.Calico) *Verdict

// checks are in the order of how much is void: everything on a node, or on one
// of its interfaces; a port, for everybody; all that is sent over IPv6; some
// traffic to some port; a way around one interface; and what only the policies
// of others would notice.
var checks = []check{
	findForeignEndpoints, findOpenFailsafes, findUnfilteredIPv6, findForeignPolicies, findInterfaceBypasses, findMissingAddresses,
}

// Hosts says whether the restrictions on nodes really hold, or what of others,
// or of the policy itself, makes them void. The reason is that of the gravest
// finding; the message ends with the reasons of the others.
//
// It judges by what Calico's API serves. What it can not see is told in
// docs/calico.md.
//
// Where nothing can be judged of a node, the other findings are worth nothing, and
// it is Unknown. So it is where all that was found may be, or may not be.
func HostsEffective(hosts plan.Hosts, live state.Calico) Verdict {
	if verdict := unjudgedVerdict(hosts, live); verdict != nil {
		return *verdict
	}
	var found []*Verdict
	for _, check := range checks {
		if verdict := check(hosts, live); verdict != nil {
			found = append(found, verdict)
		}
	}
	slices.SortStableFunc(found, func(a, b *Verdict) int { return cmp.Compare(uncertaintyRank(a), uncertaintyRank(b)) })
	if len(found) == 0 {
		return Verdict{
			Holds: true, Reason: v1alpha1.ReasonEffective,
			Message: "Nothing evades the restrictions on " + countOf(len(hosts.Calico.Nodes), "node"),
		}
	}
	worst := *found[0]
	var others []string
	for _, verdict := range found[1:] {
		others = append(others, verdict.Reason)
	}
	if len(others) > 0 {
		worst.Message += "; also found: " + strings.Join(others, ", ")
	}
	return worst
}

// doubt puts what is sure before what is not.
func uncertaintyRank(v *Verdict) int {
	if v.Unknown {
		return 1
	}
	return 0
}

func countOf(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
