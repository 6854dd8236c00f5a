// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"context"
	"errors"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/repair"
	"github.com/cpnp-dev/cpnp-operator/internal/schedule"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// refusing is an API server that refuses every write, and counts them.
type refusing struct {
	client.Client
	asked int
}

var errRefused = errors.New("refused")

func (r *refusing) Apply(context.Context, runtime.ApplyConfiguration, ...client.ApplyOption) error {
	r.asked++
	return errRefused
}

// A stage that could not be written holds up those after it, and is an error:
// else nothing would try it again.
func TestStageThatFailsHoldsUpTheOthersAndIsTriedAgain(t *testing.T) {
	g := NewWithT(t)
	now := clocktesting.NewFakePassiveClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	api := &refusing{}
	r := &Reconciler{
		Client: api, Stages: &schedule.Stages{},
		Repairer: repair.Repairer{Clock: now, History: drift.NewHistory(), Report: func(string) {}},
	}
	policy := &plan.Policy{ControlPlaneNetworkPolicy: &v1alpha1.ControlPlaneNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "p"}}}
	write := func(object client.Object) drift.Write {
		object.SetName("x")
		return drift.Write{Object: drift.Object{Kind: object.GetObjectKind().GroupVersionKind().Kind, Name: "x"}, Desired: object, Stage: backend.TraitsOf(object).Stage}
	}
	diff := drift.Diff{Writes: []drift.Write{
		write(&v3.GlobalNetworkSet{TypeMeta: metav1.TypeMeta{Kind: v3.KindGlobalNetworkSet}}),
		write(&v3.HostEndpoint{TypeMeta: metav1.TypeMeta{Kind: v3.KindHostEndpoint}}),
	}}
	_, err := r.writeHosts(t.Context(), policy, diff, always(true), always(false), repaired{})
	g.Expect(err).To(MatchError(errRefused))
	g.Expect(api.asked).To(Equal(1))
}

// A write that rolls a node back waits for nothing: neither for its stage, nor for what
// cannot be written, nor for names that others have.
func TestRollBacksDoNotWait(t *testing.T) {
	g := NewWithT(t)
	now := clocktesting.NewFakePassiveClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	api := &refusing{}
	r := &Reconciler{
		Client: api, Stages: &schedule.Stages{Time: time.Hour},
		Repairer: repair.Repairer{Clock: now, History: drift.NewHistory(), Report: func(string) {}},
	}
	policy := &plan.Policy{ControlPlaneNetworkPolicy: &v1alpha1.ControlPlaneNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "p"}}}
	endpoint := func(node string, rollsBack bool) drift.Write {
		object := &v3.HostEndpoint{ObjectMeta: metav1.ObjectMeta{Name: "cpnp-" + node}, Spec: v3.HostEndpointSpec{Node: node}}
		return drift.Write{Object: drift.ObjectOf(object), Desired: object, Live: object, Node: node, Stage: backend.StageEndpoints, RollsBack: rollsBack}
	}
	diff := drift.Diff{
		Taken:    []string{"HostEndpoint cpnp-cp-3"},
		Writes:   []drift.Write{endpoint("cp-1", true), endpoint("cp-2", false)},
		Removals: []drift.Write{{Object: drift.Object{Kind: v3.KindGlobalNetworkSet}, Live: &v3.GlobalNetworkSet{}, Stage: backend.StageAddresses}},
	}
	_, err := r.writeHosts(t.Context(), policy, diff, always(true), always(true), repaired{})
	g.Expect(err).To(MatchError(errRefused))
	g.Expect(api.asked).To(Equal(1), "the endpoint of cp-1, and nothing else")
}

func TestLiveVersionOfSeveralInterfaces(t *testing.T) {
	endpoint := func(version, enforced string) v3.HostEndpoint {
		return v3.HostEndpoint{
			ObjectMeta: metav1.ObjectMeta{Name: "cpnp-cp-1", Labels: map[string]string{v1alpha1.LabelPolicy: "p", calico.LabelVersion: version, calico.LabelEnforced: enforced}},
			Spec:       v3.HostEndpointSpec{Node: "cp-1"},
		}
	}
	copied := endpoint("old", "true")
	copied.Name = "theirs"
	for name, test := range map[string]struct {
		there []v3.HostEndpoint
		want  string
	}{
		"none":         {nil, ""},
		"one":          {[]v3.HostEndpoint{endpoint("new", "true")}, "new"},
		"both":         {[]v3.HostEndpoint{endpoint("new", "true"), endpoint("old", "true")}, "old"},
		"both, turned": {[]v3.HostEndpoint{endpoint("old", "true"), endpoint("new", "true")}, "old"},
		"a copy":       {[]v3.HostEndpoint{copied, endpoint("new", "true")}, "new"},
		"one is open":  {[]v3.HostEndpoint{endpoint("old", ""), endpoint("new", "true")}, "new"},
	} {
		t.Run(name, func(t *testing.T) {
			NewWithT(t).Expect(plan.LiveVersion("p", "cp-1", "new", calico.Live{Endpoints: test.there}.HostEndpoints())).To(Equal(test.want))
		})
	}
}

func TestFailsafePortsThatSomebodyElseDecidesAbout(t *testing.T) {
	g := NewWithT(t)
	felix := &v3.FelixConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "node.cp-1"}}
	diff := func(state v1alpha1.DriftState) drift.Diff {
		return drift.Diff{Writes: []drift.Write{{Desired: felix, Node: "cp-1", Stage: backend.StageScopedFailsafes, Findings: []drift.Finding{{State: state}}}}}
	}
	g.Expect(contested(diff(v1alpha1.StateConflicted), "cp-1")).To(BeTrue())
	g.Expect(contested(diff(v1alpha1.StateConflicted), "cp-2")).To(BeFalse())
	g.Expect(contested(diff(v1alpha1.StateDrifted), "cp-1")).To(BeFalse())
}

// stubborn deletes everything but Felix configurations, and remembers what.
type stubborn struct {
	client.Client
	deleted []string
}

func (s *stubborn) Delete(_ context.Context, object client.Object, _ ...client.DeleteOption) error {
	if _, is := object.(*v3.FelixConfiguration); is {
		return errRefused
	}
	s.deleted = append(s.deleted, object.GetName())
	return nil
}

// One object that can not be taken back keeps no node restricted, and the rules
// stay for those that still have them. What comes after waits until the nodes have
// seen what was taken back.
func TestWhatCanNotBeTakenBackHoldsUpNoOtherNode(t *testing.T) {
	g := NewWithT(t)
	now := clocktesting.NewFakePassiveClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	api := &stubborn{}
	r := &Reconciler{
		Client: api, Stages: &schedule.Stages{Time: timing.StageSettle, Started: now.Now().Add(-time.Hour)},
		Repairer: repair.Repairer{Clock: now, History: drift.NewHistory(), Report: func(string) {}},
	}
	policy := &plan.Policy{ControlPlaneNetworkPolicy: &v1alpha1.ControlPlaneNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "p"}}}
	gone := func(object client.Object) drift.Write {
		return drift.Write{
			Object: drift.ObjectOf(object), Live: object,
			Node: backend.TraitsOf(object).Node, Stage: backend.TraitsOf(object).Stage, RollsBack: backend.TraitsOf(object).Node != "",
		}
	}
	endpoint := func(node string) client.Object {
		return &v3.HostEndpoint{ObjectMeta: metav1.ObjectMeta{Name: "cpnp-" + node}, Spec: v3.HostEndpointSpec{Node: node}}
	}
	rules := gone(&v3.GlobalNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "cpnp.p-self"}})
	diff := drift.Diff{Removals: []drift.Write{
		gone(&v3.FelixConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "node.cp-1"}}), gone(endpoint("cp-1")), gone(endpoint("cp-2")), rules,
	}}
	_, err := r.writeHosts(t.Context(), policy, diff, always(true), always(true), repaired{})
	g.Expect(err).To(MatchError(errRefused))
	g.Expect(api.deleted).To(Equal([]string{"cpnp-cp-1", "cpnp-cp-2"}))

	api.deleted = nil
	result, err := r.writeHosts(t.Context(), policy, drift.Diff{Removals: []drift.Write{rules}}, always(true), always(true), repaired{})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(api.deleted).To(BeEmpty())
	g.Expect(result.RequeueAfter).To(Equal(timing.StageSettle))
	now.SetTime(now.Now().Add(timing.StageSettle))
	_, err = r.writeHosts(t.Context(), policy, drift.Diff{Removals: []drift.Write{rules}}, always(true), always(true), repaired{})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(api.deleted).To(Equal([]string{"cpnp.p-self"}))
}

// The failure of a node that has left the cluster stays on record for as long as
// it stops the others.
func TestFailureOutlivesItsNode(t *testing.T) {
	g := NewWithT(t)
	policy := &plan.Policy{ControlPlaneNetworkPolicy: &v1alpha1.ControlPlaneNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "p", Generation: 3}}}
	enactment := func(node, phase string, generation int64) v1alpha1.ControlPlaneNodeEnactment {
		return v1alpha1.ControlPlaneNodeEnactment{
			Spec: v1alpha1.ControlPlaneNodeEnactmentSpec{Policy: "p", Node: node},
			Status: v1alpha1.ControlPlaneNodeEnactmentStatus{PolicyGeneration: generation, Conditions: []metav1.Condition{
				{Type: phase, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonNodeNotReady},
			}},
		}
	}
	there := []v1alpha1.ControlPlaneNodeEnactment{
		enactment("cp-1", v1alpha1.PhaseReverted, 3), enactment("cp-2", v1alpha1.PhaseReverted, 2),
		enactment("cp-3", v1alpha1.PhaseEnforced, 3), enactment("cp-4", v1alpha1.PhasePending, 3),
	}
	gone, failed := goneNodes(policy, []backend.Node{{Name: "cp-4"}}, there)
	g.Expect(failed).To(Equal("cp-1"))
	g.Expect(gone).To(ConsistOf(&there[1], &there[2]))
}

func TestQuorumIsThatOfTheControlPlane(t *testing.T) {
	g := NewWithT(t)
	node := func(name, role string) corev1.Node {
		return corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{role: ""}}}
	}
	nodes := []corev1.Node{
		node("cp-1", "node-role.kubernetes.io/control-plane"), node("cp-2", "node-role.kubernetes.io/control-plane"),
		node("etcd-1", "node-role.kubernetes.io/etcd"), node("worker-1", "worker"),
	}
	others, members := controlPlane([]backend.Node{{Name: "cp-1"}, {Name: "worker-1"}}, nodes)
	g.Expect(members).To(Equal(3))
	g.Expect(others).To(HaveLen(2))
	g.Expect(others[0].Name).To(Equal("cp-2"))
	g.Expect(others[0].Ready).To(BeFalse(), "it does not say so")
}
