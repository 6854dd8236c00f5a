// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/repair"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// A missing Calico does not block a deletion for ever. The wait begins when the running
// operator finds Calico missing, and not with the deletion, which may be long before the
// start of the operator.
func TestDeletionWaitsFromWhenTheOperatorMissesCalico(t *testing.T) {
	g := NewWithT(t)
	deleted := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	clock := clocktesting.NewFakePassiveClock(deleted.Add(time.Hour))
	r := &Reconciler{Repairer: repair.Repairer{Clock: clock}}
	policy := &plan.Policy{ControlPlaneNetworkPolicy: &v1alpha1.ControlPlaneNetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "p", DeletionTimestamp: ptr.To(metav1.NewTime(deleted))},
	}}
	policy.Status.HostPolicies.Declared = ptr.To[int32](9)
	missing := calico.Live{Mode: calico.Aggregated, Problem: "it does not answer"}
	starting := calico.Live{Problem: "it is being found out", Settling: true}
	readable := calico.Live{Mode: calico.Aggregated}

	g.Expect(r.awaitsBackend(policy, starting)).To(BeTrue())
	clock.SetTime(clock.Now().Add(time.Hour))
	g.Expect(r.awaitsBackend(policy, starting)).To(BeTrue(), "what has not been read yet is waited for")
	g.Expect(r.awaitsBackend(policy, missing)).To(BeTrue())
	clock.SetTime(clock.Now().Add(timing.CalicoPatience - time.Second))
	g.Expect(r.awaitsBackend(policy, missing)).To(BeTrue())
	clock.SetTime(clock.Now().Add(time.Second))
	g.Expect(r.awaitsBackend(policy, missing)).To(BeFalse())

	g.Expect(r.awaitsBackend(policy, readable)).To(BeFalse())
	g.Expect(r.awaitsBackend(policy, missing)).To(BeTrue(), "the wait begins anew")
	policy.DeletionTimestamp = nil
	clock.SetTime(clock.Now().Add(time.Hour))
	g.Expect(r.awaitsBackend(policy, missing)).To(BeTrue(), "one that stays has time")
}
