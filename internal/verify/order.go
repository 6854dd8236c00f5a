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
type foreign struct {
	*v3.GlobalNetworkPolicy
	place   dataplane.Place
	phase   dataplane.Phase
	selects func(labels map[string]string) bool
	// unread says that its selector can not be read.
	unread bool
	// among says that it is in our tier, between the policies of ours; late that
	// those that allow have decided by then.
	among, late bool
}

// tierOf is a tier with the policies of others in it, in their order.
type tierOf struct {
	name     string
	place    dataplane.Place
	ours     bool
	denies   bool // that what no policy decides is dropped; not of ours
	policies []foreign
}

// tiers returns the tiers in their order. One that is not there is not
// evaluated.
func tiers(hosts plan.Hosts, there state.Calico) []tierOf {
	var out []tierOf
	allowed, denied := boundaries(hosts)
	for i := range there.Tiers {
		t := &there.Tiers[i]
		tier := tierOf{
			name: t.Name, place: dataplane.PlaceOf(t.Spec.Order, t.Name), ours: t.Name == calico.TierName,
			denies: !dataplane.Passes(t), policies: policiesIn(t.Name, hosts, there),
		}
		if tier.ours {
			tier.denies, tier.policies = false, amongOurs(tier.policies, allowed, denied)
		}
		out = append(out, tier)
	}
	slices.SortFunc(out, func(a, b tierOf) int { return a.place.Compare(b.place) })
	return out
}

func policiesIn(tier string, hosts plan.Hosts, there state.Calico) []foreign {
	var out []foreign
	for i := range there.Policies {
		p := &there.Policies[i]
		if dataplane.TierName(p) != tier || !dataplane.Ingress(p) || own(p, hosts) {
			continue
		}
		f := foreign{GlobalNetworkPolicy: p, place: dataplane.PlaceOf(p.Spec.Order, p.Name), phase: dataplane.PhaseOf(p)}
		f.selects, f.unread = dataplane.Selection(p.Spec)
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b foreign) int { return a.place.Compare(b.place) })
	return out
}

// amongOurs returns the policies of others in our tier that are evaluated before
// the first of ours that denies: it denies all that gets there.
func amongOurs(policies []foreign, allowed, denied dataplane.Place) []foreign {
	var out []foreign
	for _, p := range policies {
		if p.phase == dataplane.Normal {
			if p.place.Compare(denied) > 0 {
				continue
			}
			p.among, p.late = true, p.place.Compare(allowed) > 0
		}
		out = append(out, p)
	}
	return out
}

// boundaries returns the last place in our tier at which ours allow, and the
// first at which they deny.
func boundaries(hosts plan.Hosts) (allowed, denied dataplane.Place) {
	denied = dataplane.PlaceOf(nil, "")
	for _, p := range rendered(hosts) {
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
func own(p *v3.GlobalNetworkPolicy, hosts plan.Hosts) bool {
	if p.Labels[v1alpha1.LabelPolicy] == hosts.Calico.Policy && p.Annotations[v1alpha1.AnnotationDesiredHash] != "" {
		return true
	}
	return slices.ContainsFunc(rendered(hosts), func(r *v3.GlobalNetworkPolicy) bool { return r.Name == p.Name })
}

func rendered(hosts plan.Hosts) []*v3.GlobalNetworkPolicy {
	var out []*v3.GlobalNetworkPolicy
	for _, object := range hosts.Objects {
		if p, is := object.(*v3.GlobalNetworkPolicy); is {
			out = append(out, p)
		}
	}
	return out
}
