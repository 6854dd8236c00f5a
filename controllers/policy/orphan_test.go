// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"context"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/calicotest"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/intent"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/repair"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
	"github.com/cpnp-dev/cpnp-operator/internal/schedule"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
	"github.com/cpnp-dev/cpnp-operator/internal/verify"
)

// obedient is an API server that does everything, and notes what is deleted.
type obedient struct {
	client.Client
	deleted []string
}

func (o *obedient) Apply(context.Context, runtime.ApplyConfiguration, ...client.ApplyOption) error {
	return nil
}

func (o *obedient) Patch(context.Context, client.Object, client.Patch, ...client.PatchOption) error {
	return nil
}

func (o *obedient) Delete(_ context.Context, object client.Object, _ ...client.DeleteOption) error {
	o.deleted = append(o.deleted, object.GetName())
	return nil
}

func (o *obedient) Status() client.SubResourceWriter { return obedientStatus{} }

type obedientStatus struct{ client.SubResourceWriter }

func (obedientStatus) Apply(context.Context, runtime.ApplyConfiguration, ...client.SubResourceApplyOption) error {
	return nil
}

func (obedientStatus) Patch(context.Context, client.Object, client.Patch, ...client.SubResourcePatchOption) error {
	return nil
}

// controlled is a cluster of one policy, whose rules are on all of its nodes.
func controlled(change func(*v1alpha1.ControlPlaneNetworkPolicy)) state.Snapshot {
	role := "node-role.kubernetes.io/control-plane"
	policy := v1alpha1.ControlPlaneNetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "p", UID: "u", Generation: 1, Finalizers: []string{v1alpha1.Finalizer}},
		Spec: v1alpha1.ControlPlaneNetworkPolicySpec{
			Mode:         v1alpha1.ModeEnforce,
			NodeSelector: v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{role: ""}},
			Profile:      v1alpha1.Profile{Distribution: "kubeadm", CNI: "calico", APIServerPorts: []v1alpha1.PortNumber{6443}},
			Network: &v1alpha1.NetworkSpec{
				Components: []v1alpha1.Component{{Name: "etcd", AllowFrom: []v1alpha1.PeerReference{{Role: "ControlPlane"}}}},
			},
		},
	}
	policy.Status.HostPolicies.Declared = ptr.To(int32(9))
	change(&policy)
	snapshot := state.Snapshot{Policies: []v1alpha1.ControlPlaneNetworkPolicy{policy}, Backend: calico.Live{Mode: calico.Native}}
	for i, name := range []string{"cp-1", "cp-2", "cp-3"} {
		snapshot.Nodes = append(snapshot.Nodes, corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{role: ""}},
			Status: corev1.NodeStatus{
				Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
				Addresses:  []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "10.0.0." + string(rune('1'+i))}},
			},
		})
		endpoint := v3.HostEndpoint{
			ObjectMeta: metav1.ObjectMeta{
				Name:          "cpnp-" + name,
				Labels:        map[string]string{v1alpha1.LabelPolicy: "p", calico.LabelVersion: "live", calico.LabelEnforced: "true"},
				ManagedFields: []metav1.ManagedFieldsEntry{{Manager: v1alpha1.FieldManagerNetwork, Operation: metav1.ManagedFieldsOperationApply}},
			},
			Spec: v3.HostEndpointSpec{Node: name, InterfaceName: "*"},
		}
		calicotest.Edit(&snapshot.Backend, func(c *calico.Live) { c.Endpoints = append(c.Endpoints, endpoint) })
	}
	return snapshot
}

func enactmentIn(node, phase, previous string) v1alpha1.ControlPlaneNodeEnactment {
	e := v1alpha1.ControlPlaneNodeEnactment{
		ObjectMeta: metav1.ObjectMeta{Name: "p." + node, Labels: map[string]string{v1alpha1.LabelPolicy: "p"}, OwnerReferences: []metav1.OwnerReference{{UID: "u"}}},
		Spec:       v1alpha1.ControlPlaneNodeEnactmentSpec{Policy: "p", Node: node},
		Status:     v1alpha1.ControlPlaneNodeEnactmentStatus{Ruleset: "live", PreviousRuleset: previous},
	}
	if phase != "" {
		e.Status.Conditions = []metav1.Condition{{Type: phase, Status: metav1.ConditionTrue, Reason: "x"}}
		rollout.SetVerdict(&e, metav1.Time{})
	}
	return e
}

// An operator that starts decides nothing in the first moments; and takes nothing from
// nodes of which nothing is on record.
func TestNodesWithoutARecordAreLeftAloneWhileNothingIsDecided(t *testing.T) {
	for name, records := range map[string][]v1alpha1.ControlPlaneNodeEnactment{
		"no record":             nil,
		"a record without what": {enactmentIn("cp-1", "", ""), enactmentIn("cp-2", "", ""), enactmentIn("cp-3", "", "")},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			now := clocktesting.NewFakePassiveClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
			api := &obedient{}
			r := &Reconciler{
				Client: api, Stages: &schedule.Stages{Time: timing.StageSettle},
				Repairer: repair.Repairer{Clock: now, History: drift.NewHistory(), Report: func(string) {}},
			}
			snapshot := controlled(func(*v1alpha1.ControlPlaneNetworkPolicy) {})
			snapshot.Enactments = records
			policies := plan.Compile(snapshot.Policies)
			o := Observation{
				policy: &policies[0], policies: policies, nodes: snapshot.Nodes, live: snapshot.Backend,
				hosts: plan.HostProtection(&policies[0], policies, snapshot), verdict: verify.Verdict{Holds: true},
			}
			g.Expect(o.hosts.Rendered()).To(BeTrue())
			o.hostDiff = drift.CompareHosts(&policies[0], policies, o.hosts, snapshot.Backend)
			g.Expect(r.decideRollout(&o, snapshot).RequeueAfter).To(Equal(timing.StageSettle), "it is settling")
			_, err := r.apply(t.Context(), &o)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(api.deleted).To(BeEmpty())
		})
	}
}

// What was tried is left behind, what was being tried is not; where it can not be
// taken back, the policy waits for that, for a while, and it is told of.
func TestWhatAPolicyLeavesBehind(t *testing.T) {
	const progressing, pending, enforced = v1alpha1.PhaseProgressing, v1alpha1.PhasePending, v1alpha1.PhaseEnforced
	starting := calico.Live{Mode: calico.Undetected, Problem: "It is being found out", Settling: true}
	missing := calico.Live{Mode: calico.Aggregated, Problem: "it does not answer"}
	for name, test := range map[string]struct {
		change  func(*v1alpha1.ControlPlaneNetworkPolicy)
		phase   string
		calico  *calico.Live
		waited  time.Duration
		done    bool
		deleted []string
		told    bool
	}{
		"it was tried": {phase: enforced, done: true},
		"it is being tried: that is put on record first": {phase: progressing},
		"it goes back":                                       {phase: pending, deleted: []string{"cpnp-cp-1"}},
		"it goes back, in mode Audit too":                    {phase: pending, deleted: []string{"cpnp-cp-1"}, change: func(p *v1alpha1.ControlPlaneNetworkPolicy) { p.Spec.Mode = v1alpha1.ModeAudit }},
		"nothing is to be written any more":                  {phase: progressing, done: true, told: true, change: func(p *v1alpha1.ControlPlaneNetworkPolicy) { p.Spec.Suspend = true }},
		"it was tried, and nothing is to be written":         {phase: enforced, done: true, change: func(p *v1alpha1.ControlPlaneNetworkPolicy) { p.Spec.Suspend = true }},
		"Calico has not been read yet":                       {phase: pending, calico: &starting, waited: time.Hour},
		"Calico does not answer":                             {phase: pending, calico: &missing},
		"Calico does not answer, and it was waited for":      {phase: pending, calico: &missing, waited: timing.CalicoPatience, done: true, told: true},
		"Calico does not answer, and it was tried":           {phase: enforced, calico: &missing, done: true},
		"Calico does not answer, and nothing ever was there": {phase: pending, calico: &missing, done: true, change: func(p *v1alpha1.ControlPlaneNetworkPolicy) { p.Status.HostPolicies.Declared = nil }},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			now := clocktesting.NewFakePassiveClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
			api, recorder := &obedient{}, events.NewFakeRecorder(9)
			r := &Reconciler{
				Client: api, Stages: &schedule.Stages{Time: timing.StageSettle}, Reporter: &Reporter{Recorder: recorder},
				Repairer: repair.Repairer{Clock: now, History: drift.NewHistory(), Report: func(string) {}},
			}
			snapshot := controlled(func(p *v1alpha1.ControlPlaneNetworkPolicy) {
				p.Spec.DeletionPolicy = v1alpha1.DeletionOrphan
				p.DeletionTimestamp = ptr.To(metav1.NewTime(now.Now().Add(-time.Minute)))
				if test.change != nil {
					test.change(p)
				}
			})
			snapshot.Enactments = []v1alpha1.ControlPlaneNodeEnactment{enactmentIn("cp-1", test.phase, ""), enactmentIn("cp-2", enforced, "")}
			if test.calico != nil {
				snapshot.Backend = *test.calico
			}
			policies := plan.Compile(snapshot.Policies)
			if test.waited > 0 {
				r.patience.Set("p", now.Now().Add(-test.waited))
			}
			settledRecords(r, &policies[0], policies, snapshot)
			o := assess(&policies[0], policies, snapshot)
			r.decideRollout(&o, snapshot)
			_, err := r.apply(t.Context(), &o)
			g.Expect(err).NotTo(HaveOccurred())
			_, err = r.recordRollout(t.Context(), &o, snapshot)
			g.Expect(err).NotTo(HaveOccurred())
			result, err := r.findRemaining(t.Context(), &o, snapshot)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(len(o.remaining) == 0).To(Equal(test.done))
			g.Expect(result.RequeueAfter > 0).To(Equal(!test.done))
			g.Expect(api.deleted).To(Equal(test.deleted))
			g.Expect(len(untriedTold(recorder))).To(Equal(map[bool]int{true: 1}[test.told]))
		})
	}
}

// settledRecords has nodes that go back on record so, as the operator decides it.
func settledRecords(r *Reconciler, policy *plan.Policy, policies []plan.Policy, snapshot state.Snapshot) {
	o := assess(policy, policies, snapshot)
	r.decideOnRecords(&o, snapshot, intent.Hold, orphanReason)
	for i, decided := range o.rollout.Enactments {
		if rollout.PhaseOf(&snapshot.Enactments[i]) == v1alpha1.PhasePending {
			snapshot.Enactments[i] = decided
		}
	}
}

func untriedTold(recorder *events.FakeRecorder) (out []string) {
	for {
		select {
		case text := <-recorder.Events:
			if !strings.Contains(text, "keeps rules that were still being tried") {
				continue
			}
			out = append(out, text)
		default:
			return out
		}
	}
}
