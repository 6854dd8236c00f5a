// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"testing"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/internal/verify"
)

func TestWhetherTheCNIEnforcesNetworkPolicies(t *testing.T) {
	otherwise := verify.Verdict{Holds: true, Reason: v1alpha1.ReasonAsDeclared, Message: "as it was"}
	enforcement := func(s profile.Support) profile.Enforcement {
		return profile.Enforcement{Enforced: s, Why: "that was found"}
	}
	g := NewWithT(t)
	g.Expect(verify.NetworkPoliciesEnforced(policy("dns"), enforcement(profile.Always), otherwise)).To(Equal(otherwise))
	g.Expect(verify.NetworkPoliciesEnforced(policy(), enforcement(profile.Never), otherwise)).To(Equal(otherwise), "the policy calls for no NetworkPolicies")
	g.Expect(verify.NetworkPoliciesEnforced(invalid(policy("dns")), enforcement(profile.Never), otherwise)).To(Equal(otherwise))

	never := verify.NetworkPoliciesEnforced(policy("dns"), enforcement(profile.Never), otherwise)
	g.Expect(never).To(And(HaveField("Holds", false), HaveField("Unknown", false), HaveField("Reason", "NetworkPolicyNotEnforced"),
		HaveField("Message", And(ContainSubstring("that was found"), ContainSubstring("spec: {profile: {networkPolicies: Enforced}}")))))
	notKnown := verify.NetworkPoliciesEnforced(policy("dns"), enforcement(profile.NotKnown), otherwise)
	g.Expect(notKnown).To(And(HaveField("Holds", false), HaveField("Unknown", true), HaveField("Reason", "NotJudged"),
		HaveField("Message", And(ContainSubstring("that was found"), ContainSubstring("spec: {profile: {networkPolicies: Enforced}}")))))

	broken := verify.Verdict{Reason: v1alpha1.ReasonFailsafePorts}
	g.Expect(verify.WorseOf(otherwise, broken)).To(Equal(broken))
	g.Expect(verify.WorseOf(notKnown, broken)).To(Equal(broken))
	g.Expect(verify.WorseOf(never, broken)).To(Equal(broken))
	g.Expect(verify.WorseOf(notKnown, otherwise)).To(Equal(notKnown))
	g.Expect(verify.WorseOf(otherwise, notKnown)).To(Equal(notKnown))
}
