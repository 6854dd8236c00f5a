// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"testing"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/verify"
)

func TestAnUndecidedComponentIsHeldUntilAnOverride(t *testing.T) {
	safe := verify.Verdict{Holds: true, Reason: v1alpha1.ReasonVerified, Message: "Safe"}
	overridden := verify.Verdict{Holds: true, Reason: v1alpha1.ReasonOverridden, Message: "Something else is overridden"}
	cut := verify.Verdict{Reason: v1alpha1.ReasonRequiredFlowCut, Message: "Cut"}
	balancer := plan.Held{Reason: v1alpha1.ReasonLoadBalancerUnknown, Why: "Is there a load balancer?"}
	admins := plan.Held{Reason: v1alpha1.ReasonPeerMissing, Why: "Who are the administrators?"}
	const said = `. Objects are written anyway, because the annotation cpnp.dev/allow-lockout says so ("tried")`
	for name, test := range map[string]struct {
		verdict   verify.Verdict
		undecided []plan.Held
		override  string
		want      verify.Verdict
	}{
		"no question is open":    {verdict: safe, override: "tried", want: safe},
		"a cut takes precedence": {verdict: cut, undecided: []plan.Held{balancer}, override: "tried", want: cut},
		"a load balancer": {
			verdict: safe, undecided: []plan.Held{balancer},
			want: verify.Verdict{Reason: balancer.Reason, Message: balancer.Why + ". Note that X"},
		},
		"a load balancer, overridden": {
			verdict: safe, undecided: []plan.Held{balancer}, override: " tried ",
			want: verify.Verdict{Holds: true, Reason: v1alpha1.ReasonOverridden, Message: balancer.Why + said + ". Note that X"},
		},
		"a load balancer, overridden for something else": {
			verdict: overridden, undecided: []plan.Held{balancer}, override: "tried",
			want: verify.Verdict{Holds: true, Reason: v1alpha1.ReasonOverridden, Message: overridden.Message + ". " + balancer.Why + said},
		},
		"a blank reason": {
			verdict: safe, undecided: []plan.Held{balancer}, override: " ",
			want: verify.Verdict{Reason: balancer.Reason, Message: balancer.Why + ". Note that X"},
		},
		"missing administrators, which no annotation overrides": {
			verdict: safe, undecided: []plan.Held{admins, balancer}, override: "tried",
			want: verify.Verdict{Reason: admins.Reason, Message: admins.Why + "; " + balancer.Why + ". Note that X"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			NewWithT(t).Expect(verify.WithUndecided(test.verdict, test.undecided, test.override, []string{"X"})).To(Equal(test.want))
		})
	}
}
