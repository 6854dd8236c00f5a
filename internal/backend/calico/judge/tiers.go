// SPDX-License-Identifier: Apache-2.0

package judge

import (
	"slices"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/dataplane"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
)

// foreignPolicy is a foreign policy for traffic arriving at hosts.
type foreignPolicy struct {
	*v3.GlobalNetworkPolicy
	place   dataplane.Place
	phase   dataplane.Phase
	selects func(labels map[string]string) bool
	// unreadable says that the selector cannot be read.
	unreadable bool
	// betweenManaged says that the policy is in the managed tier, between the managed
	// policies; afterAllows says that all allowing managed policies precede the policy.
	betweenManaged, afterAllows bool
}

// orderedTier is a tier with the foreign policies of the tier in order of evaluation.
type orderedTier struct {
	name            string
	place           dataplane.Place
	managed         bool
	deniesByDefault bool // drops undecided traffic; false for the managed tier
	policies        []foreignPolicy
}

// tiersInOrder returns the tiers in order of evaluation. Felix does not evaluate
// policies of a tier that does not exist.
func tiersInOrder(hosts plan.Hosts, live calico.Live) []orderedTier {
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

func foreignPoliciesIn(tier string, hosts plan.Hosts, live calico.Live) []foreignPolicy {
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

// foreignAmongManaged returns the foreign policies of the managed tier before the first
// denying managed policy: no traffic gets past the denying policy.
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

// managedBoundaries returns the place of the last managed policy that allows, and of
// the first managed policy that denies.
func managedBoundaries(hosts plan.Hosts) (allowed, denied dataplane.Place) {
	denied = dataplane.PlaceOf(nil, "")
	for _, p := range renderedPolicies(hosts) {
		at := dataplane.PlaceOf(p.Spec.Order, p.Name)
		switch denies := calico.IsDenyPolicy(p); {
		case denies && at.Compare(denied) < 0:
			denied = at
		case !denies && at.Compare(allowed) > 0:
			allowed = at
		}
	}
	return allowed, denied
}

// isManagedBy says whether a Calico policy belongs to the policy of hosts, planned or
// due for deletion. In other tiers none does, whatever its label and annotation say:
// whoever may write to one tier only must not be able to hide a policy.
func isManagedBy(p *v3.GlobalNetworkPolicy, hosts plan.Hosts) bool {
	if dataplane.TierName(p) != calico.TierName {
		return false
	}
	if p.Labels[v1alpha1.LabelPolicy] == hosts.Now.Policy && p.Annotations[v1alpha1.AnnotationDesiredHash] != "" {
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
