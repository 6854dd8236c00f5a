// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"cmp"
	"math"
	"slices"
	"strings"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/plan/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/plan/calico/selector"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// place is where a tier, or a policy within its tier, is in the order of
// evaluation: by order, none being last, and then by name
// (felix/calc/policy_sorter.go).
type place struct {
	order float64
	name  string
}

func placeOf(order *float64, name string) place {
	if order == nil {
		return place{math.Inf(1), name}
	}
	return place{*order, name}
}

func (p place) compare(other place) int {
	return cmp.Or(cmp.Compare(p.order, other.order), strings.Compare(p.name, other.name))
}

// phase is when Felix evaluates a policy: the untracked ones of all tiers come
// first, then those before DNAT, whatever the order of their tiers.
type phase int

const (
	phaseUntracked phase = iota
	phasePreDNAT
	phaseNormal
)

// foreign is a policy of somebody else that may apply to what comes in at hosts.
type foreign struct {
	*v3.GlobalNetworkPolicy
	place   place
	phase   phase
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
	place    place
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
			name: t.Name, place: placeOf(t.Spec.Order, t.Name), ours: t.Name == calico.TierName,
			denies: t.Spec.DefaultAction == nil || *t.Spec.DefaultAction != v3.Pass, policies: policiesIn(t.Name, hosts, there),
		}
		if tier.ours {
			tier.denies, tier.policies = false, amongOurs(tier.policies, allowed, denied)
		}
		out = append(out, tier)
	}
	slices.SortFunc(out, func(a, b tierOf) int { return a.place.compare(b.place) })
	return out
}

func policiesIn(tier string, hosts plan.Hosts, there state.Calico) []foreign {
	var out []foreign
	for i := range there.Policies {
		p := &there.Policies[i]
		if cmp.Or(p.Spec.Tier, "default") != tier || !ingress(p) || own(p, hosts) {
			continue
		}
		f := foreign{GlobalNetworkPolicy: p, place: placeOf(p.Spec.Order, p.Name), phase: phaseNormal}
		switch {
		case p.Spec.DoNotTrack:
			f.phase = phaseUntracked
		case p.Spec.PreDNAT:
			f.phase = phasePreDNAT
		}
		f.selects, f.unread = selection(p.Spec)
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b foreign) int { return a.place.compare(b.place) })
	return out
}

// amongOurs returns the policies of others in our tier that are evaluated before
// the first of ours that denies: it denies all that gets there.
func amongOurs(policies []foreign, allowed, denied place) []foreign {
	var out []foreign
	for _, p := range policies {
		if p.phase == phaseNormal {
			if p.place.compare(denied) > 0 {
				continue
			}
			p.among, p.late = true, p.place.compare(allowed) > 0
		}
		out = append(out, p)
	}
	return out
}

// boundaries returns the last place in our tier at which ours allow, and the
// first at which they deny.
func boundaries(hosts plan.Hosts) (allowed, denied place) {
	denied = placeOf(nil, "")
	for _, p := range rendered(hosts) {
		at := placeOf(p.Spec.Order, p.Name)
		switch denies := calico.Denies(p); {
		case denies && at.compare(denied) < 0:
			denied = at
		case !denies && at.compare(allowed) > 0:
			allowed = at
		}
	}
	return allowed, denied
}

// ingress says whether the policy is about what comes in, by the default that
// Calico's API has.
func ingress(p *v3.GlobalNetworkPolicy) bool {
	if len(p.Spec.Types) > 0 {
		return slices.Contains(p.Spec.Types, v3.PolicyTypeIngress)
	}
	return len(p.Spec.Egress) == 0 || len(p.Spec.Ingress) > 0
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

// selection returns what a policy selects of hosts. The selectors of namespaces
// and of service accounts are about labels that no host has, and with them
// "all()" means everything that is in a namespace, or has a service account
// (libcalico-go/lib/backend/syncersv1/updateprocessors/
// globalnetworkpolicyprocessor.go). So they select no host, unless they are
// negative, such as "!has(team)".
func selection(spec v3.GlobalNetworkPolicySpec) (selects func(map[string]string) bool, unread bool) {
	text := spec.Selector
	read := func(text string) selector.Selector {
		if spec.NamespaceSelector != "" || spec.ServiceAccountSelector != "" {
			text = strings.ReplaceAll(text, "all()", "has(projectcalico.org/namespace)")
		}
		s, err := selector.Parse(text)
		unread = unread || err != nil
		return s
	}
	hosts, namespaces, accounts := read(text), read(spec.NamespaceSelector), read(spec.ServiceAccountSelector)
	return func(labels map[string]string) bool { return hosts(labels) && namespaces(nil) && accounts(nil) }, unread
}
