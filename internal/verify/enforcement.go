// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"slices"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
)

// NetworkPoliciesEnforced says whether any component of the cluster enforces the
// policy's NetworkPolicies. If so, or if the policy has none, the verdict is otherwise.
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
		return Verdict{Reason: v1alpha1.ReasonNetworkPolicyNotEnforced, Message: "Nothing enforces NetworkPolicies, " +
			"so that no pod is restricted: " + enforcement.Why + ". Install an enforcer, such as Calico, kube-router or " +
			"kube-network-policies. If an enforcer is installed already, write spec: {profile: {networkPolicies: Enforced}}"}
	default:
		return Verdict{Unknown: true, Reason: v1alpha1.ReasonNotJudged, Message: "The operator cannot tell whether anything " +
			"enforces NetworkPolicies: " + enforcement.Why + ". If an enforcer is installed, write " +
			"spec: {profile: {networkPolicies: Enforced}}, else NotEnforced"}
	}
}

// WorseOf returns the worse verdict: a failure is worse than an unknown, and an unknown
// is worse than a success.
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
