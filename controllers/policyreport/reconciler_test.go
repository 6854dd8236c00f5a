// SPDX-License-Identifier: Apache-2.0

package policyreport

import (
	"context"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/policyreport"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// server has at most one policy and no report, and accepts every report.
type server struct {
	client.Client
	policy *v1alpha1.ControlPlaneNetworkPolicy
}

func (s *server) RESTMapper() meta.RESTMapper {
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.Add(schema.GroupVersionKind{Group: "openreports.io", Version: "v1alpha1", Kind: "ClusterReport"}, meta.RESTScopeRoot)
	return mapper
}

// Get reads the policy; there are no other objects.
func (s *server) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	policy, ok := into.(*v1alpha1.ControlPlaneNetworkPolicy)
	if !ok || s.policy == nil {
		return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
	}
	s.policy.DeepCopyInto(policy)
	return nil
}

// Apply takes a report.
func (s *server) Apply(context.Context, runtime.ApplyConfiguration, ...client.ApplyOption) error {
	return nil
}

func policyOf(uid types.UID) *v1alpha1.ControlPlaneNetworkPolicy {
	policy := &v1alpha1.ControlPlaneNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "plane", UID: uid}}
	policy.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonAsDeclared}}
	return policy
}

// The memory of a policy's report is dropped with the policy, even if a policy
// of the same name exists again before the next reconciliation.
func TestDeletedPoliciesAreForgotten(t *testing.T) {
	request := reconcile.Request{NamespacedName: types.NamespacedName{Name: "plane"}}
	const passed = 10 * time.Minute
	for name, next := range map[string]*v1alpha1.ControlPlaneNetworkPolicy{
		"deleted": nil, "deleted and created": policyOf("second"), "still there": policyOf("first"),
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			s := &server{policy: policyOf("first")}
			begin := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
			clock := testclock.NewFakePassiveClock(begin)
			r := &Reconciler{
				Client: s, Writer: &policyreport.Writer{Client: s, Live: s, Clock: clock}, uids: map[string]types.UID{},
			}
			_, err := r.Reconcile(t.Context(), request)
			g.Expect(err).NotTo(HaveOccurred())
			clock.SetTime(begin.Add(passed))
			g.Expect(r.Writer.Due(policyOf("first"))).To(Equal(timing.PolicyReportCheck-passed), "remembered")

			s.policy = next
			_, err = r.Reconcile(t.Context(), request)
			g.Expect(err).NotTo(HaveOccurred())
			want := timing.PolicyReportCheck // of an unknown policy
			if next != nil && next.UID == "first" {
				want -= passed
			}
			g.Expect(r.Writer.Due(policyOf("first"))).To(Equal(want))
		})
	}
}

// A policy in deletion is left alone, whatever the age of its report.
func TestPolicyInDeletionIsNotReconciledAgain(t *testing.T) {
	g := NewWithT(t)
	s := &server{policy: policyOf("first")}
	clock := testclock.NewFakePassiveClock(time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC))
	r := &Reconciler{Client: s, Writer: &policyreport.Writer{Client: s, Live: s, Clock: clock}, uids: map[string]types.UID{}}
	request := reconcile.Request{NamespacedName: types.NamespacedName{Name: "plane"}}
	result, err := r.Reconcile(t.Context(), request)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(result.RequeueAfter).To(Equal(timing.PolicyReportCheck))
	s.policy.DeletionTimestamp = &metav1.Time{Time: clock.Now()}
	clock.SetTime(clock.Now().Add(2 * timing.PolicyReportCheck))
	result, err = r.Reconcile(t.Context(), request)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(result).To(BeZero())
}
