// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"testing"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/calicotest"
	"github.com/cpnp-dev/cpnp-operator/internal/freshness"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// Without restrictions on hosts, no policy waits for an answer of the API server.
func TestOnlyPoliciesForHostsWaitForAConfirmedCache(t *testing.T) {
	g := NewWithT(t)
	concerns := func(s state.Snapshot) bool { return concernsHosts(s, plan.Compile(s.Policies)) }
	g.Expect(concerns(state.Snapshot{Policies: []v1alpha1.ControlPlaneNetworkPolicy{{}}})).To(BeFalse())
	g.Expect(concerns(calicotest.Snapshot(func(*v1alpha1.ControlPlaneNetworkPolicy) {}))).To(BeTrue())
	g.Expect(concerns(showing("9"))).To(BeTrue())
	s := &server{}
	r, _ := confirming(s)
	r.Confirmed = &freshness.Confirmed{}
	shown, again := r.confirm(t.Context(), state.Snapshot{Policies: []v1alpha1.ControlPlaneNetworkPolicy{{}}})
	g.Expect(shown.Unconfirmed).To(BeFalse())
	g.Expect(again.RequeueAfter).To(BeZero())
	g.Expect(s.asked).To(BeZero())
}
