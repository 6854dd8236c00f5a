// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"context"
	"errors"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/pipeline"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/repair"
	"github.com/cpnp-dev/cpnp-operator/internal/schedule"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// refusing is an API server that refuses and counts every write.
type refusing struct {
	client.Client
	asked int
}

var errRefused = errors.New("refused")

func (r *refusing) Apply(context.Context, runtime.ApplyConfiguration, ...client.ApplyOption) error {
	r.asked++
	return errRefused
}

// A failed stage holds the later stages, and is an error: otherwise nothing would retry the
// write.
func TestFailedStageHoldsLaterStagesAndIsRetried(t *testing.T) {
	g := NewWithT(t)
	now := clocktesting.NewFakePassiveClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	api := &refusing{}
	r := &Reconciler{
		Client: api, Rollouts: pipeline.Rollouts{Stages: &schedule.Stages{}},
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
	_, err := r.writeHosts(t.Context(), policy, diff, pipeline.Always(true), pipeline.Always(false), pipeline.Written{})
	g.Expect(err).To(MatchError(errRefused))
	g.Expect(api.asked).To(Equal(1))
}

// A write that rolls a node back waits neither for a stage, nor for failed writes, nor for
// names of foreign objects.
func TestRollBacksDoNotWait(t *testing.T) {
	g := NewWithT(t)
	now := clocktesting.NewFakePassiveClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	api := &refusing{}
	r := &Reconciler{
		Client: api, Rollouts: pipeline.Rollouts{Stages: &schedule.Stages{Time: time.Hour}},
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
	_, err := r.writeHosts(t.Context(), policy, diff, pipeline.Always(true), pipeline.Always(true), pipeline.Written{})
	g.Expect(err).To(MatchError(errRefused))
	g.Expect(api.asked).To(Equal(1), "the endpoint of cp-1, and nothing else")
}

// stubborn is an API server that refuses to delete FelixConfigurations, and notes all other deletions.
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

// A failed roll back of one node does not keep other nodes restricted, and the rules stay for
// the nodes that still have the rules. Later stages wait until the roll backs have settled.
func TestFailedRollBackOfOneNodeDoesNotHoldOtherNodes(t *testing.T) {
	g := NewWithT(t)
	now := clocktesting.NewFakePassiveClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	api := &stubborn{}
	r := &Reconciler{
		Client: api, Rollouts: pipeline.Rollouts{Stages: &schedule.Stages{Time: timing.StageSettle, Started: now.Now().Add(-time.Hour)}},
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
	_, err := r.writeHosts(t.Context(), policy, diff, pipeline.Always(true), pipeline.Always(true), pipeline.Written{})
	g.Expect(err).To(MatchError(errRefused))
	g.Expect(api.deleted).To(Equal([]string{"cpnp-cp-1", "cpnp-cp-2"}))

	api.deleted = nil
	result, err := r.writeHosts(t.Context(), policy, drift.Diff{Removals: []drift.Write{rules}}, pipeline.Always(true), pipeline.Always(true), pipeline.Written{})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(api.deleted).To(BeEmpty())
	g.Expect(result.RequeueAfter).To(Equal(timing.StageSettle))
	now.SetTime(now.Now().Add(timing.StageSettle))
	_, err = r.writeHosts(t.Context(), policy, drift.Diff{Removals: []drift.Write{rules}}, pipeline.Always(true), pipeline.Always(true), pipeline.Written{})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(api.deleted).To(Equal([]string{"cpnp.p-self"}))
}
