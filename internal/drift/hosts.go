// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"cmp"
	"slices"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/plan/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// Hosts compares a policy's planned objects of Calico with the live ones. Without a
// reliable reading of Calico, all live objects stay. If the rules cannot be rendered, only
// nodes in flight change.
func Hosts(policy *plan.Policy, policies []plan.Policy, hosts plan.Hosts, cluster state.Calico) Diff {
	if !cluster.IsReadable() {
		return Diff{}
	}
	lastOne := lastInTier(policy, policies, cluster)
	last := lastReport(policy, policy.Status.HostPolicies, len(hosts.Objects)+len(hosts.Held))
	wasInPlace := func(object plan.Object) bool { return hosts.Established(object) && last.wasInPlace(object) }
	diff := compareAll(policy, hosts.Objects, ObjectsOf(cluster), wasInPlace, func(live plan.Object) bool {
		if _, tier := live.(*v3.Tier); tier {
			return !hosts.Stays && lastOne && plan.Written(live)
		}
		obsolete := madeForHosts(live, policy.Name, policies) || hosts.Widens(live) && plan.Written(live)
		if hosts.Stays {
			return obsolete && hosts.GoesBack(live)
		}
		return obsolete && !hosts.Keeps(live)
	})
	diff = inTransition(diff)
	diff.describeHostWrites(hosts, cluster.Endpoints)
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

// deniesFirst orders policies that deny before policies that allow, the order of deletion.
func deniesFirst(a, b plan.Object) int {
	denies := func(object plan.Object) int {
		if policy, is := object.(*v3.GlobalNetworkPolicy); is && calico.IsDenyPolicy(policy) {
			return 0
		}
		return 1
	}
	return cmp.Compare(denies(a), denies(b))
}

// WroteHosts tells whether there are objects of Calico that the operator made for the
// policy, now or when Calico could last be read.
func WroteHosts(policy string, there state.Calico) bool {
	return slices.ContainsFunc(ObjectsOf(there), func(o plan.Object) bool { return madeForHosts(o, policy, nil) })
}

// lastInTier tells whether no other policy needs the tier and the tier contains no foreign
// object.
func lastInTier(policy *plan.Policy, policies []plan.Policy, there state.Calico) bool {
	return !slices.ContainsFunc(policies, func(p plan.Policy) bool { return p.Name != policy.Name && p.ProtectsHosts() }) &&
		!slices.ContainsFunc(there.Policies, func(p v3.GlobalNetworkPolicy) bool {
			return p.Spec.Tier == calico.TierName && !madeForHosts(&p, policy.Name, policies)
		})
}

// ObjectsOf returns the objects of Calico that the operator may have made.
func ObjectsOf(cluster state.Calico) []plan.Object {
	var objects []plan.Object
	for i := range cluster.Tiers {
		if cluster.Tiers[i].Name == calico.TierName {
			objects = append(objects, &cluster.Tiers[i])
		}
	}
	for i := range cluster.Sets {
		objects = append(objects, &cluster.Sets[i])
	}
	for i := range cluster.Policies {
		objects = append(objects, &cluster.Policies[i])
	}
	for i := range cluster.Endpoints {
		objects = append(objects, &cluster.Endpoints[i])
	}
	for i := range cluster.Felix {
		objects = append(objects, &cluster.Felix[i])
	}
	return objects
}

// madeForHosts tells whether the operator made the object of Calico for the policy, with
// any other policies present. The label decides. If the label is missing, the object's name
// decides, as long as the name fits this policy and no other. The tier belongs to no
// policy.
func madeForHosts(live plan.Object, policy string, policies []plan.Policy) bool {
	label, labelled := live.GetLabels()[v1alpha1.LabelPolicy]
	switch live.(type) {
	case *v3.Tier:
		return false
	case *v3.FelixConfiguration:
		return label == policy && plan.Written(live)
	}
	if labelled {
		return label == policy && (plan.Written(live) || plan.Stamped(live) && declaredElsewhere(live) == "" || restoredEndpoint(live))
	}
	return plan.Written(live) && calico.HasNameFor(live, policy) && !slices.ContainsFunc(policies, func(p plan.Policy) bool {
		return len(p.Name) > len(policy) && calico.HasNameFor(live, p.Name)
	})
}
