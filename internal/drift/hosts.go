// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"cmp"
	"slices"

	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
)

// CompareHosts compares a policy's planned objects for hosts with the live ones. Without a
// reliable reading of the backend, all live objects stay. If the rules cannot be rendered, only
// nodes in flight change.
func CompareHosts(policy *plan.Policy, policies []plan.Policy, hosts plan.Hosts, live backend.Live) Diff {
	if !live.Availability().Readable {
		return Diff{}
	}
	last := lastReport(policy, policy.Status.HostPolicies, len(hosts.Objects)+len(hosts.Held))
	wasInPlace := func(object plan.Object) bool {
		return hosts.VersionsInUse.Has(backend.TraitsOf(object).Version) && last.wasInPlace(object)
	}
	diff := compareAll(policy, hosts.Objects, live.Objects(), wasInPlace, obsoleteOnHosts(policy, policies, hosts, live), nil)
	diff = inTransition(diff)
	diff.describeHostWrites(hosts, live.HostEndpoints())
	// Creations come first: when a network set is split, the new set must contain the members
	// before the old set loses them.
	slices.SortStableFunc(diff.Writes, func(a, b Write) int {
		return cmp.Or(cmp.Compare(a.Stage, b.Stage), createdFirst(a, b))
	})
	slices.SortStableFunc(diff.Removals, func(a, b Write) int {
		return cmp.Or(cmp.Compare(b.Stage, a.Stage), deniesFirst(a.Live, b.Live))
	})
	return diff
}

// createdFirst orders creations before changes.
func createdFirst(a, b Write) int {
	switch {
	case a.Live == nil && b.Live != nil:
		return -1
	case a.Live != nil && b.Live == nil:
		return 1
	}
	return 0
}

// deniesFirst orders denying objects before allowing objects, the order of deletion.
func deniesFirst(a, b plan.Object) int {
	allows := func(object plan.Object) int {
		if backend.TraitsOf(object).Denies {
			return 0
		}
		return 1
	}
	return cmp.Compare(allows(a), allows(b))
}

// WroteHosts tells whether there are objects for hosts that the operator made for the
// policy, now or when the backend could last be read.
func WroteHosts(policy string, live backend.Live) bool {
	return slices.ContainsFunc(live.Objects(), func(o plan.Object) bool { return madeForHosts(o, policy, nil) })
}
