// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"cmp"
	"math"
	"slices"
	"strings"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"

	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/selector"
)

// Place is the place of a tier, or of a policy within its tier, in the order of
// evaluation: by order, a missing order last, then by name
// (felix/calc/policy_sorter.go).
type Place struct {
	Order float64
	Name  string
}

// PlaceOf returns the place for an order, which may be missing.
func PlaceOf(order *float64, name string) Place {
	if order == nil {
		return Place{math.Inf(1), name}
	}
	return Place{*order, name}
}

// Compare is negative if p is evaluated before other.
func (p Place) Compare(other Place) int {
	return cmp.Or(cmp.Compare(p.Order, other.Order), strings.Compare(p.Name, other.Name))
}

// Phase is when Felix evaluates a policy: first the untracked policies of all tiers,
// then the policies before DNAT of all tiers, then the normal policies.
type Phase int

// The phases, in order of evaluation.
const (
	Untracked Phase = iota
	PreDNAT
	Normal
)

// PhaseOf returns the phase of a policy.
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

// TierPasses says whether the tier passes on a flow that none of its policies decides
// about.
func TierPasses(t *v3.Tier) bool {
	return t.Spec.DefaultAction != nil && *t.Spec.DefaultAction == v3.Pass
}

// AppliesToIngress says whether the policy applies to incoming flows. Without
// spec.types, the defaults of Calico's API hold.
func AppliesToIngress(p *v3.GlobalNetworkPolicy) bool {
	if len(p.Spec.Types) > 0 {
		return slices.Contains(p.Spec.Types, v3.PolicyTypeIngress)
	}
	return len(p.Spec.Egress) == 0 || len(p.Spec.Ingress) > 0
}

// AppliesToEgress says whether the policy applies to outgoing flows.
func AppliesToEgress(p *v3.GlobalNetworkPolicy) bool {
	if len(p.Spec.Types) > 0 {
		return slices.Contains(p.Spec.Types, v3.PolicyTypeEgress)
	}
	return len(p.Spec.Egress) > 0
}

// HostSelectorOf returns a function that says whether a policy selects a host with the
// given labels; unreadable says that a selector cannot be read.
//
// The selectors of namespaces and of service accounts are about labels that no host
// has. With such a selector, Felix reads "all()" as "in a namespace" or "with a service
// account"
// (libcalico-go/lib/backend/syncersv1/updateprocessors/globalnetworkpolicyprocessor.go).
// So a policy with such a selector selects no host, unless the selector is negative,
// such as "!has(team)".
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
