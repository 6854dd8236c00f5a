// SPDX-License-Identifier: Apache-2.0

package apply_test

import (
	"context"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	testingclock "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/apply"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/repair"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// declaring returns a policy with a taint of a value, or with traffic policies.
func declaring(value string, deleting bool, services ...v1alpha1.ServiceTrafficPolicy) []plan.Policy {
	p := v1alpha1.ControlPlaneNetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "p", UID: "p-uid", Generation: 1, Finalizers: []string{v1alpha1.Finalizer}},
		Spec: v1alpha1.ControlPlaneNetworkPolicySpec{
			Mode:         v1alpha1.ModeEnforce,
			NodeSelector: v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"cp": ""}},
			Taints:       []v1alpha1.Taint{{Key: "dedicated", Value: value, Effect: corev1.TaintEffectNoSchedule}},
			Services:     services,
		},
		Status: v1alpha1.ControlPlaneNetworkPolicyStatus{
			ObservedGeneration: 1, RecordFormat: drift.RecordFormat,
			Conditions: []metav1.Condition{{Type: v1alpha1.ConditionVerified, Status: metav1.ConditionTrue, ObservedGeneration: 1}},
		},
	}
	if deleting {
		p.DeletionTimestamp = ptr.To(metav1.Now())
	}
	return plan.Compile([]v1alpha1.ControlPlaneNetworkPolicy{p})
}

// process is a running operator: what it remembers between two reconciliations.
type process struct {
	repair.Repairer
	clock *testingclock.FakePassiveClock
}

func newProcess() *process {
	clock := testingclock.NewFakePassiveClock(time.Now())
	return &process{clock: clock, Repairer: repair.Repairer{
		Clock: clock, History: drift.NewHistory(), Report: func(string) {}, Retries: &repair.Retries{},
	}}
}

// reconcileNode does what the reconciler of nodes does, but for evictions.
func (p *process) reconcileNode(t *testing.T, n *nodes, policies []plan.Policy) error {
	t.Helper()
	p.clock.SetTime(p.clock.Now().Add(time.Minute))
	node, record := n.seen(t)
	claims, _ := plan.TaintClaims(node, policies)
	shared := repair.WithMemory(p.History, drift.SharedNode(node, record.Record), node.UID)
	outcome := drift.CompareFields(shared, claims, policies)
	job := p.Remembered(node.UID, outcome, repair.Job{
		Object: shared.Object, Version: node.ResourceVersion, Findings: outcome.Findings,
		Needed: outcome.NeedsWrite(record.Record), Elsewhere: len(outcome.Set) == 0, RecordFirst: true,
		Write: func(ctx context.Context) error {
			return apply.WriteNode(ctx, apply.NodeClients{Live: n, Writer: n}, node, record, outcome)
		},
	})
	_, _, err := p.Do(t.Context(), job)
	return err
}

// A policy changes the value of its taint, the write of the node fails, and the policy goes: the
// earlier value is the operator's, too.
func TestTaintOfAnUnfinishedChangeIsRemoved(t *testing.T) {
	g, n, p := NewWithT(t), newNodes(t, nil), newProcess()
	node, _ := n.seen(t)
	node.Labels = map[string]string{"cp": ""}
	g.Expect(n.Update(t.Context(), node)).To(Succeed())
	g.Expect(p.reconcileNode(t, n, declaring("a", false))).To(Succeed())
	g.Expect(p.reconcileNode(t, n, declaring("a", false))).To(Succeed())

	n.fails = "patch node"
	_ = p.reconcileNode(t, n, declaring("b", false))
	n.fails = ""
	node, _ = n.seen(t)
	g.Expect(node.Spec.Taints).To(ConsistOf(taint(dedicated, "a")))

	g.Expect(p.reconcileNode(t, n, declaring("b", true))).To(Succeed())
	node, _ = n.seen(t)
	g.Expect(node.Spec.Taints).To(BeEmpty())
}

// Admission stores the field of a Service, and drops the record.
func TestOriginalOutlivesADroppedRecord(t *testing.T) {
	g, p := NewWithT(t), newProcess()
	declared := v1alpha1.ServiceTrafficPolicy{Name: "s", ExternalTrafficPolicy: "Cluster"}
	declared.Selector.MatchLabels = map[string]v1alpha1.LabelValue{"app": "x"}
	live := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "uid", ResourceVersion: "7", Labels: map[string]string{"app": "x"}},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, ExternalTrafficPolicy: "Local"},
	}
	dropping := &recorder{tamper: func(stored map[string]any) { delete(stored["metadata"].(map[string]any), "annotations") }}
	first := p.reconcileService(t, dropping, declaring("", false, declared), live)
	g.Expect(*first.Record["externalTrafficPolicy"].Original).To(Equal("Local"))

	live = live.DeepCopy()
	live.ResourceVersion, live.Spec.ExternalTrafficPolicy = "8", "Cluster"
	live.ManagedFields = []metav1.ManagedFieldsEntry{{
		Manager: v1alpha1.FieldManagerServices, Operation: "Apply", APIVersion: "v1", FieldsType: "FieldsV1",
		FieldsV1: metav1.NewFieldsV1(`{"f:spec":{"f:externalTrafficPolicy":{}}}`),
	}}
	second := p.reconcileService(t, &recorder{}, declaring("", false, declared), live)
	g.Expect(*second.Record["externalTrafficPolicy"].Original).To(Equal("Local"))
}

// reconcileService does what the reconciler of Services does.
func (p *process) reconcileService(t *testing.T, r *recorder, policies []plan.Policy, live *corev1.Service) drift.Outcome {
	t.Helper()
	p.clock.SetTime(p.clock.Now().Add(time.Minute))
	claims, _ := plan.ServiceClaims(state.Service{Service: live}, policies)
	shared := repair.WithMemory(p.History, drift.SharedService(live), live.UID)
	outcome := drift.CompareFields(shared, claims, policies)
	_, _, err := p.Do(t.Context(), p.Remembered(live.UID, outcome, repair.Job{
		Object: shared.Object, Version: live.ResourceVersion, Findings: outcome.Findings, Needed: outcome.NeedsWrite(shared.Record),
		Write: func(ctx context.Context) error { return apply.WriteService(ctx, r, live, outcome) },
	}))
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return outcome
}
