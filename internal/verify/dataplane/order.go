// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"cmp"
	"math"
	"slices"
	"strings"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"

	"github.com/cpnp-dev/cpnp-operator/internal/plan/calico/selector"
)

// Place is where a tier, or a policy within its tier, is in the order of
// evaluation: by order, none being last, and then by name
// (felix/calc/policy_sorter.go).
type Place struct {
	Order float64
	Name  string
}

// PlaceOf returns the place for an order that may be missing.
func PlaceOf(order *float64, name string) Place {
	if order == nil {
		return Place{math.Inf(1), name}
	}
	return Place{*order, name}
}

// Compare is negative for what is evaluated first.
func (p Place) Compare(other Place) int {
	return cmp.Or(cmp.Compare(p.Order, other.Order), strings.Compare(p.Name, other.Name))
}

// Phase is when Felix evaluates a policy: the untracked ones of all tiers come
// first, then those before DNAT, whatever the order of their tiers.
type Phase int

// The phases, in their order.
const (
	Untracked Phase = iota
	PreDNAT
	Normal
)

// PhaseOf returns when a policy is evaluated.
func PhaseOf(p *v3.GlobalNetworkPolicy) Phase {
	switch {
	case p.Spec.DoNotTrack:
		return Untracked
	case p.Spec.PreDNAT:
		return PreDNAT
	}
	return Normal
}

// TierName returns the tier of a policy.
func TierName(p *v3.GlobalNetworkPolicy) string { return cmp.Or(p.Spec.Tier, "default") }

// Passes says whether the tier passes on what none of its policies decides.
func TierPasses(t *v3.Tier) bool {
	return t.Spec.DefaultAction != nil && *t.Spec.DefaultAction == v3.Pass
}

// Ingress says whether the policy is about what comes in, and Egress whether it
// is about what goes out, by the defaults that Calico's API has.
func AppliesToIngress(p *v3.GlobalNetworkPolicy) bool {
	if len(p.Spec.Types) > 0 {
		return slices.Contains(p.Spec.Types, v3.PolicyTypeIngress)
	}
	return len(p.Spec.Egress) == 0 || len(p.Spec.Ingress) > 0
}

// Egress says whether the policy is about what goes out.
func AppliesToEgress(p *v3.GlobalNetworkPolicy) bool {
	if len(p.Spec.Types) > 0 {
		return slices.Contains(p.Spec.Types, v3.PolicyTypeEgress)
	}
	return len(p.Spec.Egress) > 0
}

// Selection returns what a policy selects of hosts. The selectors of namespaces
// and of service accounts are about labels that no host has, and with them
// "all()" means everything that is in a namespace, or has a service account
// (libcalico-go/lib/backend/syncersv1/updateprocessors/
// globalnetworkpolicyprocessor.go). So they select no host, unless they are
// negative, such as "!has(team)".
func HostSelectorOf(spec v3.GlobalNetworkPolicySpec) (selects func(map[string]string) bool, unreadable bool) {
	read := func(text string) selector.Selector {
		if spec.NamespaceSelector != "" || spec.ServiceAccountSelector != "" {
			text = strings.ReplaceAll(text, "all()", "has(projectcalico.org/namespace)")
		}
		s, err := selector.Parse(text)
		unreadable = unreadable || err != nil
		return s
	}
	hosts, namespaces, accounts := read(spec.Selector), read(spec.NamespaceSelector), read(spec.ServiceAccountSelector)
	return func(labels map[string]string) bool { return hosts(labels) && namespaces(nil) && accounts(nil) }, unreadable
}
