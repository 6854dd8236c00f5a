// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"testing"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
)

func storedPolicy(name, uid, version string) v1alpha1.ControlPlaneNetworkPolicy {
	policy := v1alpha1.ControlPlaneNetworkPolicy{}
	policy.Name, policy.UID, policy.ResourceVersion = name, types.UID(uid), version
	return policy
}

// Policies are compiled once for each of their states, and always in their present state.
func TestPoliciesAreCompiledOnceForEachState(t *testing.T) {
	g := NewWithT(t)
	var memory Policies
	var before []plan.Policy
	compile := func(policies ...v1alpha1.ControlPlaneNetworkPolicy) (anew bool) {
		compiled := memory.Compile(policies)
		g.Expect(compiled).To(HaveLen(len(policies)))
		for i := range policies {
			g.Expect(compiled[i].Name).To(Equal(policies[i].Name))
			g.Expect(compiled[i].ResourceVersion).To(Equal(policies[i].ResourceVersion))
		}
		anew = len(compiled) == 0 || len(before) == 0 || &compiled[0] != &before[0]
		before = compiled
		return anew
	}
	a, b := storedPolicy("a", "1", "1"), storedPolicy("b", "2", "1")
	g.Expect(compile(a, b)).To(BeTrue())
	g.Expect(compile(a, b)).To(BeFalse(), "no policy has changed")

	changed := storedPolicy("b", "2", "2")
	g.Expect(compile(a, changed)).To(BeTrue(), "another version")
	g.Expect(compile(changed, a)).To(BeTrue(), "another order of precedence")
	g.Expect(compile(changed)).To(BeTrue(), "a policy was deleted")
	g.Expect(compile(storedPolicy("b", "3", "2"))).To(BeTrue(), "another policy of the same name")
	g.Expect(compile()).To(BeTrue())
	g.Expect(compile(a)).To(BeTrue())
	g.Expect(compile(storedPolicy("c", "", "9"))).To(BeTrue())
	g.Expect(compile(storedPolicy("c", "", "9"))).To(BeTrue(), "the policy was never stored, so its version proves nothing")
	g.Expect((*Policies)(nil).Compile([]v1alpha1.ControlPlaneNetworkPolicy{a})).To(HaveLen(1))
}
