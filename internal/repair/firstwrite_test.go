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
	"github.com/cpnp-dev/cpnp-operator/internal/apply"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// The states of a taint.
const (
	drifted = v1alpha1.StateDrifted
	pending = v1alpha1.StatePending
	held    = v1alpha1.StateHeld
)

// tainted is a node with a taint that a policy declares, and the repairs of the node. The
// record of the node contains the taint from the first write on.
type tainted struct {
	Repairer
	clock    *testingclock.FakePassiveClock
	version  int
	policies []plan.Policy
}

func newTainted() *tainted {
	clock := testingclock.NewFakePassiveClock(time.Now())
	return &tainted{
		clock:    clock,
		Repairer: Repairer{Clock: clock, History: drift.NewHistory(), Report: func(string) {}, Retries: &Retries{}},
		policies: verified(v1alpha1.ControlPlaneNetworkPolicySpec{Mode: v1alpha1.ModeEnforce}),
	}
}

// verified returns a policy that was verified, with the name p.
func verified(spec v1alpha1.ControlPlaneNetworkPolicySpec) []plan.Policy {
	return plan.Compile([]v1alpha1.ControlPlaneNetworkPolicy{{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Generation: 1, Finalizers: []string{v1alpha1.Finalizer}},
		Spec:       spec,
		Status: v1alpha1.ControlPlaneNetworkPolicyStatus{
			Conditions: []metav1.Condition{{Type: v1alpha1.ConditionVerified, Status: metav1.ConditionTrue, ObservedGeneration: 1}},
		},
	}})
}

// look is one reconciliation of a node, and what the API server answers to its write.
type look struct {
	present, hold bool // of the taint
	answer        error
	want          v1alpha1.DriftState // empty if the taint is as declared
}

func (n *tainted) reconcile(t *testing.T, l look) v1alpha1.DriftState {
	const field = "dedicated:NoSchedule"
	n.version++
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "cp-1", UID: "uid", ResourceVersion: time.Duration(n.version).String()}}
	if l.present {
		node.Spec.Taints = []corev1.Taint{{Key: "dedicated", Effect: corev1.TaintEffectNoSchedule}}
	}
	record := state.Record{}
	if n.version > 1 {
		record[field] = state.RecordEntry{Policy: "p"}
	}
	claim := plan.Claim{Field: field, Policy: &n.policies[0]}
	if l.hold {
		claim.HoldReason = "not now"
	}
	shared := WithMemory(n.History, drift.SharedNode(node, record), node.UID)
	outcome := drift.CompareFields(shared, []plan.Claim{claim}, n.policies)
	job := n.Remembered(node.UID, outcome, Job{
		Object: shared.Object, Version: node.ResourceVersion, Policies: []string{"p"}, Findings: outcome.Findings,
		RecordFirst: true, Needed: len(outcome.Set) > 0, Write: func(context.Context) error { return l.answer },
	})
	_, _, _ = n.Do(t.Context(), job)
	n.clock.SetTime(n.clock.Now().Add(time.Minute))
	if len(outcome.Findings) == 0 {
		return ""
	}
	return outcome.Findings[0].State
}

// The record of a node is stored before the taint is written. If the write of the taint is
// refused, because another controller has written the new node, the taint on record is
// missing, which is no drift. A taint that was written is drift when it is missing.
func TestTaintOfAnUnfinishedFirstWriteIsNoDrift(t *testing.T) {
	conflict, failure, stripped := answer(409, "the node has changed"), answer(500, "etcd has no leader"), &apply.Incomplete{Left: []string{"a taint"}}
	written := look{present: true}
	for name, looks := range map[string][]look{
		"conflicts": {
			{answer: conflict, want: pending}, {answer: conflict, want: pending}, {want: pending}, written,
			{answer: conflict, want: drifted}, {want: drifted},
		},
		"failures":                        {{answer: failure, want: pending}, {answer: failure, want: pending}, {want: pending}, written, {want: drifted}},
		"held in between":                 {{answer: conflict, want: pending}, {hold: true, want: held}, {want: pending}, written, {want: drifted}},
		"written in spite of the failure": {{answer: failure, want: pending}, written, {want: drifted}},
		"removed right after the write":   {{answer: conflict, want: pending}, {want: pending}, {want: pending}, {want: drifted}},
		"stripped by a webhook":           {{answer: stripped, want: pending}, {answer: stripped, want: drifted}},
		"stripped after a conflict":       {{answer: conflict, want: pending}, {answer: stripped, want: pending}, {answer: stripped, want: pending}, {answer: stripped, want: drifted}},
		"without a failure":               {{want: pending}, written, {want: drifted}},
	} {
		t.Run(name, func(t *testing.T) {
			g, n, repairs := NewWithT(t), newTainted(), 0
			for i, l := range looks {
				g.Expect(n.reconcile(t, l)).To(Equal(l.want), "look %d", i+1)
				if l.want == drifted && l.answer == nil {
					repairs++
				}
			}
			g.Expect(n.History.Summarize("p", n.clock.Now()).Last != nil).To(Equal(repairs > 0), "only the repair of drift counts")
		})
	}
}

// The memory of unfinished writes ends with the node.
func TestUnfinishedFirstWriteIsForgottenWithTheNode(t *testing.T) {
	g, n := NewWithT(t), newTainted()
	g.Expect(n.reconcile(t, look{answer: answer(409, "the node has changed")})).To(Equal(pending))
	node := drift.Object{Kind: "Node", Name: "cp-1"}
	g.Expect(n.History.UnwrittenFields(node)("dedicated:NoSchedule")).To(BeTrue())
	n.GoneShared(node)
	g.Expect(n.History.UnwrittenFields(node)("dedicated:NoSchedule")).To(BeFalse())
}
