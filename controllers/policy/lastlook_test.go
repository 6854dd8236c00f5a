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
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	shipped "github.com/cpnp-dev/cpnp-operator/internal/options"
	"github.com/cpnp-dev/cpnp-operator/internal/pipeline"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/repair"
	"github.com/cpnp-dev/cpnp-operator/internal/reporter"
	"github.com/cpnp-dev/cpnp-operator/internal/schedule"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

var byUs = []metav1.ManagedFieldsEntry{{
	Manager: v1alpha1.FieldManagerNetwork, Operation: metav1.ManagedFieldsOperationApply, APIVersion: "networking.k8s.io/v1",
	FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(`{"f:spec":{}}`), Time: &metav1.Time{Time: time.Unix(1, 0)},
}}

// deleted returns a policy in deletion, without objects in the cache.
func deleted() *v1alpha1.ControlPlaneNetworkPolicy {
	return &v1alpha1.ControlPlaneNetworkPolicy{ObjectMeta: metav1.ObjectMeta{
		Name: "p", UID: "u", Finalizers: []string{v1alpha1.Finalizer}, DeletionTimestamp: ptr.To(metav1.NewTime(time.Unix(9, 0))),
	}}
}

func looking(policy *v1alpha1.ControlPlaneNetworkPolicy, there calico.Live, objects ...client.Object) (*Reconciler, *obedient, *clocktesting.FakePassiveClock) {
	now, api := clocktesting.NewFakePassiveClock(time.Unix(10, 0)), &obedient{}
	live := fake.NewClientBuilder().WithScheme(shipped.NewScheme()).WithObjects(objects...).WithReturnManagedFields().Build()
	cache := fake.NewClientBuilder().WithScheme(shipped.NewScheme()).WithObjects(policy).Build()
	return &Reconciler{
		Client: api, Rollouts: pipeline.Rollouts{Stages: &schedule.Stages{}}, Writing: &repair.Writing{}, Reporter: &reporter.Reporter{Recorder: events.NewFakeRecorder(9)},
		Repairer: repair.Repairer{Clock: now, History: drift.NewHistory(), Report: func(string) {}},
		Observe: state.Observer{
			Cache: cache, Live: live, BackendNow: func(context.Context) (backend.Live, error) { return there, nil },
		},
	}, api, now
}

// Everybody with the right to patch a NetworkPolicy can add a finalizer. The deletion of the
// policy does not wait for a NetworkPolicy that only a foreign finalizer keeps.
func TestForeignFinalizersDoNotBlockTheDeletionOfAPolicy(t *testing.T) {
	g := NewWithT(t)
	network := networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: "cpnp.p.web", Labels: map[string]string{v1alpha1.LabelPolicy: "p"}, ManagedFields: byUs,
	}}
	policies := plan.Compile([]v1alpha1.ControlPlaneNetworkPolicy{*deleted()})
	there := func() []drift.Write {
		return assess(&policies[0], policies, state.Snapshot{NetworkPolicies: []networkingv1.NetworkPolicy{network}}).Diff.Removals
	}
	g.Expect(there()).To(HaveLen(1))
	network.Finalizers, network.DeletionTimestamp = []string{"example.com/mine"}, ptr.To(metav1.NewTime(time.Unix(9, 0)))
	g.Expect(there()).To(BeEmpty())
}

// The last look finds objects that the cache does not show, and the operator rolls back the
// objects or waits for them.
func TestObjectsMissingInTheCacheAreRolledBack(t *testing.T) {
	label := map[string]string{v1alpha1.LabelPolicy: "p"}
	recorded := map[string]string{v1alpha1.AnnotationRecord: `{"externalTrafficPolicy":{"policy":"p","applied":"Local","original":"Cluster"}}`}
	recordOfNode := &v1alpha1.ControlPlaneNodeRecord{
		ObjectMeta: metav1.ObjectMeta{Name: "cp-1"},
		Spec: v1alpha1.ControlPlaneNodeRecordSpec{NodeUID: "n", Taints: []v1alpha1.RecordedTaint{
			{Key: "story", Effect: corev1.TaintEffectNoSchedule, Policy: "p"},
		}},
	}
	endpoint := v3.HostEndpoint{
		ObjectMeta: metav1.ObjectMeta{Name: "cpnp-cp-1", Labels: label, ManagedFields: byUs}, Spec: v3.HostEndpointSpec{Node: "cp-1"},
	}
	rules := v3.GlobalNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "cpnp.p.deny", Labels: label, ManagedFields: byUs}}
	rules.Spec.Tier = calico.TierName
	for name, test := range map[string]struct {
		live    client.Object
		calico  calico.Live
		left    string
		deleted []string
	}{
		"a NetworkPolicy": {
			live: &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "cpnp.p.coredns", Namespace: "n", Labels: label, ManagedFields: byUs}},
			left: "NetworkPolicy/n/cpnp.p.coredns", deleted: []string{"cpnp.p.coredns"},
		},
		"a node": {live: recordOfNode, left: "Node/cp-1"},
		"a Service": {
			live: &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "n", Annotations: recorded}}, left: "Service/n/web",
		},
		"an endpoint, with rules": {
			calico: calico.Live{
				Mode: calico.Native, Endpoints: []v3.HostEndpoint{endpoint}, Policies: []v3.GlobalNetworkPolicy{rules},
			},
			left: "HostEndpoint/cpnp-cp-1", deleted: []string{"cpnp-cp-1"}, // the rules wait until that has been seen
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			var objects []client.Object
			if test.live != nil {
				objects = append(objects, test.live)
			}
			policy := deleted()
			objects = append(objects, policy.DeepCopy(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "cp-1", UID: "n"}})
			r, api, now := looking(policy, test.calico, objects...)
			r.Rollouts.Stages.Time = time.Minute
			compiled := plan.Compile([]v1alpha1.ControlPlaneNetworkPolicy{*policy})
			left, _, err := r.lastLook(t.Context(), &compiled[0], state.Snapshot{})
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(left).To(ContainElement(test.left))
			g.Expect(api.deleted).To(Equal(test.deleted))

			asked := len(api.deleted)
			again, _, _ := r.lastLook(t.Context(), &compiled[0], state.Snapshot{})
			g.Expect(again).To(Equal(left))
			g.Expect(api.deleted).To(HaveLen(asked), "it is not asked again at once")
			now.SetTime(now.Now().Add(time.Minute))
			if test.live != nil {
				g.Expect(r.Observe.Live.(client.Client).Delete(t.Context(), test.live)).To(Succeed())
			}
			r.Observe.BackendNow = func(context.Context) (backend.Live, error) { return nil, nil }
			left, _, err = r.lastLook(t.Context(), &compiled[0], state.Snapshot{})
			g.Expect(left, err).To(BeEmpty())
		})
	}
}

func TestDeletionWaitsWhileTheAPIServerDoesNotAnswer(t *testing.T) {
	g := NewWithT(t)
	policy := deleted()
	r, _, _ := looking(policy, calico.Live{})
	r.Observe.BackendNow = func(context.Context) (backend.Live, error) { return nil, errors.New("no answer") }
	policy.Status.HostPolicies.Declared = ptr.To[int32](3)
	compiled := plan.Compile([]v1alpha1.ControlPlaneNetworkPolicy{*policy})
	readable := state.Snapshot{Backend: calico.Live{Mode: calico.Native}}
	left, _, err := r.lastLook(t.Context(), &compiled[0], readable)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(left).To(ConsistOf(ContainSubstring("Calico, which does not answer")))

	// A policy without objects for hosts does not wait for Calico.
	policy.Status.HostPolicies.Declared = nil
	r, _, _ = looking(policy, calico.Live{})
	r.Observe.BackendNow = func(context.Context) (backend.Live, error) { return nil, errors.New("no answer") }
	compiled = plan.Compile([]v1alpha1.ControlPlaneNetworkPolicy{*policy})
	left, _, err = r.lastLook(t.Context(), &compiled[0], readable)
	g.Expect(left, err).To(BeEmpty())

	r.Observe.Live = interceptor.NewClient(r.Observe.Live.(client.WithWatch), interceptor.Funcs{
		List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
			return errors.New("no answer")
		},
	})
	r.cleared.forget(policy.Name)
	left, _, err = r.lastLook(t.Context(), &compiled[0], readable)
	g.Expect(err).To(MatchError(ContainSubstring("no answer")))
	g.Expect(left).To(ConsistOf(ContainSubstring("no answer")))
}

// The deletion waits for running writes to nodes and Services, because their reconciliations
// may not know of the deletion yet; and for the cache to show the deletion.
func TestDeletionWaitsForRunningWrites(t *testing.T) {
	g := NewWithT(t)
	policy := deleted()
	compiled := plan.Compile([]v1alpha1.ControlPlaneNetworkPolicy{*policy})
	r, _, _ := looking(policy, calico.Live{}, policy.DeepCopy())
	end := r.Writing.Begin()
	left, again, err := r.lastLook(t.Context(), &compiled[0], state.Snapshot{})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(left).NotTo(BeEmpty())
	g.Expect(again.RequeueAfter).To(Equal(timing.WritingPoll))
	r.Writing.Begin() // it knows
	end()
	left, _, err = r.lastLook(t.Context(), &compiled[0], state.Snapshot{})
	g.Expect(left, err).To(BeEmpty())

	living := policy.DeepCopy()
	living.DeletionTimestamp = nil
	r, _, _ = looking(living, calico.Live{}, living.DeepCopy())
	left, _, err = r.lastLook(t.Context(), &compiled[0], state.Snapshot{})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(left).NotTo(BeEmpty(), "the cache does not show yet that it goes")
}

// Objects with the label of a missing policy are reported once, and stay.
func TestObjectsOfAMissingPolicyAreReportedOnce(t *testing.T) {
	g := NewWithT(t)
	recorder := events.NewFakeRecorder(9)
	endpoint := v3.HostEndpoint{ObjectMeta: metav1.ObjectMeta{
		Name: "cpnp-cp-1", Labels: map[string]string{v1alpha1.LabelPolicy: "gone"}, ManagedFields: byUs,
	}}
	there := calico.Live{Mode: calico.Native, Endpoints: []v3.HostEndpoint{endpoint}}
	g.Expect(abandonedPolicies(nil, there)).To(Equal([]string{"gone"}))
	r, api, _ := looking(deleted(), there)
	r.Reporter.Recorder = recorder
	tell := func() {
		g.Expect(r.tellAbandoned(t.Context(), "gone", nil, state.Snapshot{Backend: there})).To(Succeed())
	}
	tell()
	tell()
	g.Expect(recorder.Events).To(HaveLen(1))
	g.Expect(<-recorder.Events).To(And(ContainSubstring("There is no policy gone"), ContainSubstring("HostEndpoint/cpnp-cp-1")))
	g.Expect(api.deleted).To(BeEmpty())

	r.abandoned.forget("gone")
	r.Observe.BackendNow = func(context.Context) (backend.Live, error) { return calico.Live{Mode: calico.Native}, nil }
	tell()
	g.Expect(recorder.Events).To(BeEmpty(), "only the cache shows it still")
}

func TestMissingPoliciesTakeBoundedMemory(t *testing.T) {
	g := NewWithT(t)
	var a abandoned
	news := 0
	for i := range 3 * maxAbandoned {
		if a.news(string(rune('a'+i)), []string{"x"}) {
			news++
		}
	}
	g.Expect(news).To(Equal(maxAbandoned))
	g.Expect(a).To(HaveLen(maxAbandoned))
}
