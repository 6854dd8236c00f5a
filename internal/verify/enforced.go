// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"slices"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
)

// Enforced says whether something makes the policy's NetworkPolicies hold. Where
// that is so, or none is called for, it is as it was.
func NetworkPoliciesEnforced(policy *plan.Policy, enforcement profile.Enforcement, otherwise Verdict) Verdict {
	network := policy.Spec.Network
	if network == nil || policy.Invalid != nil ||
		!slices.ContainsFunc(network.Components, func(c v1alpha1.Component) bool { return !c.OnHosts() }) {
		return otherwise
	}
	switch enforcement.Enforced {
	case profile.Always:
		return otherwise
	case profile.Never:
		return Verdict{Reason: v1alpha1.ReasonPoliciesNotEnforced, Message: "Nothing enforces NetworkPolicies, so that they restrict no pod: " +
			enforcement.Why + ". Install what enforces them, such as Calico, kube-router or kube-network-policies. If something does already, " +
			"write spec: {profile: {networkPolicies: Enforced}}"}
	default:
		return Verdict{Unknown: true, Reason: v1alpha1.ReasonPoliciesUnknown, Message: "It is not known whether anything " +
			"enforces NetworkPolicies: " + enforcement.Why + ". If something does, write " +
			"spec: {profile: {networkPolicies: Enforced}}, else NotEnforced"}
	}
}

// Both is one verdict of two: what does not hold comes before what cannot be
// judged, and this before what holds.
func WorseOf(a, b Verdict) Verdict {
	weight := func(v Verdict) int {
		switch {
		case v.Holds:
			return 0
		case v.Unknown:
			return 1
		default:
			return 2
		}
	}
	if weight(a) > weight(b) {
		return a
	}
	return b
}
