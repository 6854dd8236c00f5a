// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// A missing Calico holds no policy for ever; but the wait begins when this operator
// sees that it is missing, not when the policy was deleted: that may be long before
// the operator was started, and knows nothing of Calico yet.
func TestAPolicyWaitsForCalicoFromWhenItIsSeenToBeMissing(t *testing.T) {
	g := NewWithT(t)
	deleted := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	clock := clocktesting.NewFakePassiveClock(deleted.Add(time.Hour))
	r := &PolicyReconciler{Repairer: Repairer{Clock: clock}}
	policy := &plan.Policy{ControlPlaneNetworkPolicy: &v1alpha1.ControlPlaneNetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "p", DeletionTimestamp: ptr.To(metav1.NewTime(deleted))},
	}}
	policy.Status.HostPolicies.Declared = ptr.To[int32](9)
	missing := state.Calico{Mode: state.CalicoAggregated, Problem: "it does not answer"}
	starting := state.Calico{Problem: "it is being found out", Settling: true}
	readable := state.Calico{Mode: state.CalicoAggregated}

	g.Expect(r.awaitsCalico(policy, starting)).To(BeTrue())
	clock.SetTime(clock.Now().Add(time.Hour))
	g.Expect(r.awaitsCalico(policy, starting)).To(BeTrue(), "what has not been read yet is waited for")
	g.Expect(r.awaitsCalico(policy, missing)).To(BeTrue())
	clock.SetTime(clock.Now().Add(calicoPatience - time.Second))
	g.Expect(r.awaitsCalico(policy, missing)).To(BeTrue())
	clock.SetTime(clock.Now().Add(time.Second))
	g.Expect(r.awaitsCalico(policy, missing)).To(BeFalse())

	g.Expect(r.awaitsCalico(policy, readable)).To(BeFalse())
	g.Expect(r.awaitsCalico(policy, missing)).To(BeTrue(), "the wait begins anew")
	policy.DeletionTimestamp = nil
	clock.SetTime(clock.Now().Add(time.Hour))
	g.Expect(r.awaitsCalico(policy, missing)).To(BeTrue(), "one that stays has time")
}
