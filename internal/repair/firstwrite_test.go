// SPDX-License-Identifier: Apache-2.0

package repair

import (
	"context"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// The record of a node is written before the taint. If the write of the taint is refused,
// because another controller has written the new node, the taint on record is missing, which
// is no drift. A taint that is missing after a successful write is drift.
func TestTaintOfAnUnfinishedFirstWriteIsNoDrift(t *testing.T) {
	const field = "dedicated:NoSchedule"
	recorded := state.Record{field: {Policy: "p"}}
	for name, refusal := range map[string]error{"a conflict": answer(409, "the node has changed"), "a failure": answer(500, "etcd has no leader")} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			clock := testingclock.NewFakePassiveClock(time.Now())
			r := Repairer{Clock: clock, History: drift.NewHistory(), Report: func(string) {}, Retries: &Retries{}}
			policies := plan.Compile([]v1alpha1.ControlPlaneNetworkPolicy{{
				ObjectMeta: metav1.ObjectMeta{Name: "p", Generation: 1, Finalizers: []string{v1alpha1.Finalizer}},
				Spec:       v1alpha1.ControlPlaneNetworkPolicySpec{Mode: v1alpha1.ModeEnforce},
				Status: v1alpha1.ControlPlaneNetworkPolicyStatus{
					Conditions: []metav1.Condition{{Type: v1alpha1.ConditionVerified, Status: metav1.ConditionTrue, ObservedGeneration: 1}},
				},
			}})
			// reconcile compares one version of the node with the claim of the policy, and returns
			// the state of the taint.
			reconcile := func(version string, record state.Record, answer error, taints ...corev1.Taint) v1alpha1.DriftState {
				node := &corev1.Node{
					ObjectMeta: metav1.ObjectMeta{Name: "cp-1", UID: "a", ResourceVersion: version}, Spec: corev1.NodeSpec{Taints: taints},
				}
				shared := WithMemory(r.History, drift.SharedNode(node, record), node.UID)
				outcome := drift.CompareFields(shared, []plan.Claim{{Field: field, Policy: &policies[0]}}, policies)
				job := r.Remembered(node.UID, outcome, Job{
					Object: shared.Object, Version: version, Policies: []string{"p"}, Findings: outcome.Findings,
					Needed: len(outcome.Findings) > 0, Write: func(context.Context) error { return answer },
				})
				_, _, _ = r.Do(t.Context(), job)
				clock.SetTime(clock.Now().Add(time.Minute))
				if len(outcome.Findings) == 0 {
					return ""
				}
				return outcome.Findings[0].State
			}
			last := func() *drift.Finding { return r.History.Summarize("p", clock.Now()).Last }

			g.Expect(reconcile("1", nil, refusal)).To(Equal(v1alpha1.StatePending))
			g.Expect(reconcile("2", recorded, refusal)).To(Equal(v1alpha1.StatePending))
			g.Expect(reconcile("3", recorded, nil)).To(Equal(v1alpha1.StatePending))
			g.Expect(last()).To(BeNil(), "the first write is no repair")
			g.Expect(reconcile("4", recorded, nil, corev1.Taint{Key: "dedicated", Effect: corev1.TaintEffectNoSchedule})).To(BeEmpty())

			g.Expect(reconcile("5", recorded, refusal)).To(Equal(v1alpha1.StateDrifted))
			g.Expect(reconcile("6", recorded, nil)).To(Equal(v1alpha1.StateDrifted), "a refused repair is still one")
			g.Expect(last()).NotTo(BeNil())
		})
	}
}
