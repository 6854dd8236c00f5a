// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"slices"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/plan/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/verify/dataplane"
)

// foreign is a policy of somebody else that may apply to what comes in at hosts.
type foreignPolicy struct {
	*v3.GlobalNetworkPolicy
	place   dataplane.Place
	phase   dataplane.Phase
	selects func(labels map[string]string) bool
	// unread says that its selector can not be read.
	unreadable bool
	// among says that it is in our tier, between the policies of ours; late that
	// those that allow have decided by then.
	betweenManaged, afterAllows bool
}

// tierOf is a tier with the policies of others in it, in their order.
type orderedTier struct {
	name            string
	place           dataplane.Place
	managed         bool
	deniesByDefault bool // that what no policy decides is dropped; not of ours
	policies        []foreignPolicy
}

// tiers returns the tiers in their order. One that is not there is not
// evaluated.
func tiersInOrder(hosts plan.Hosts, live state.Calico) []orderedTier {
	var out []orderedTier
	allowed, denied := managedBoundaries(hosts)
	for i := range live.Tiers {
		t := &live.Tiers[i]
		tier := orderedTier{
			name: t.Name, place: dataplane.PlaceOf(t.Spec.Order, t.Name), managed: t.Name == calico.TierName,
			deniesByDefault: !dataplane.TierPasses(t), policies: foreignPoliciesIn(t.Name, hosts, live),
		}
		if tier.managed {
			tier.deniesByDefault, tier.policies = false, foreignAmongManaged(tier.policies, allowed, denied)
		}
		out = append(out, tier)
	}
	slices.SortFunc(out, func(a, b orderedTier) int { return a.place.Compare(b.place) })
	return out
}

func foreignPoliciesIn(tier string, hosts plan.Hosts, live state.Calico) []foreignPolicy {
	var out []foreignPolicy
	for i := range live.Policies {
		p := &live.Policies[i]
		if dataplane.TierName(p) != tier || !dataplane.AppliesToIngress(p) || isManagedBy(p, hosts) {
			continue
		}
		f := foreignPolicy{GlobalNetworkPolicy: p, place: dataplane.PlaceOf(p.Spec.Order, p.Name), phase: dataplane.PhaseOf(p)}
		f.selects, f.unreadable = dataplane.HostSelectorOf(p.Spec)
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b foreignPolicy) int { return a.place.Compare(b.place) })
	return out
}

// amongOurs returns the policies of others in our tier that are evaluated before
// the first of ours that denies: it denies all that gets there.
func foreignAmongManaged(policies []foreignPolicy, allowed, denied dataplane.Place) []foreignPolicy {
	var out []foreignPolicy
	for _, p := range policies {
		if p.phase == dataplane.Normal {
			if p.place.Compare(denied) > 0 {
				continue
			}
			p.betweenManaged, p.afterAllows = true, p.place.Compare(allowed) > 0
		}
		out = append(out, p)
	}
	return out
}

// boundaries returns the last place in our tier at which ours allow, and the
// first at which they deny.
func managedBoundaries(hosts plan.Hosts) (allowed, denied dataplane.Place) {
	denied = dataplane.PlaceOf(nil, "")
	for _, p := range renderedPolicies(hosts) {
		at := dataplane.PlaceOf(p.Spec.Order, p.Name)
		switch denies := calico.Denies(p); {
		case denies && at.Compare(denied) < 0:
			denied = at
		case !denies && at.Compare(allowed) > 0:
			allowed = at
		}
	}
	return allowed, denied
}

// own says whether the policy is one of this policy's, be it called for, or to
// be deleted.
func isManagedBy(p *v3.GlobalNetworkPolicy, hosts plan.Hosts) bool {
	if p.Labels[v1alpha1.LabelPolicy] == hosts.Calico.Policy && p.Annotations[v1alpha1.AnnotationDesiredHash] != "" {
		return true
	}
	return slices.ContainsFunc(renderedPolicies(hosts), func(r *v3.GlobalNetworkPolicy) bool { return r.Name == p.Name })
}

func renderedPolicies(hosts plan.Hosts) []*v3.GlobalNetworkPolicy {
	var out []*v3.GlobalNetworkPolicy
	for _, object := range hosts.Objects {
		if p, is := object.(*v3.GlobalNetworkPolicy); is {
			out = append(out, p)
		}
	}
	return out
}
