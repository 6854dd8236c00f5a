// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/freshness"
	operator "github.com/cpnp-dev/cpnp-operator/internal/options"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
	"github.com/cpnp-dev/cpnp-operator/internal/watch"
)

func watching(policies ...string) watch.Watcher {
	c := fake.NewClientBuilder().WithScheme(operator.NewScheme())
	for _, name := range policies {
		c = c.WithObjects(&v1alpha1.ControlPlaneNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
	return watch.Watcher{Observe: state.Observer{Cache: c.Build()}}
}

func TestUserChangesOfAPolicyComeBeforeAFlood(t *testing.T) {
	g := NewWithT(t)
	q := priorityqueue.New[reconcile.Request]("test")
	defer q.ShutDown()
	for i := range 1000 {
		q.Add(watch.NewRequest("", fmt.Sprint("flood-", i)))
	}
	policy := &v1alpha1.ControlPlaneNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "p"}}
	handler := watch.WithUrgency(watches{Watcher: watching("p")}.policiesOfPolicy())
	handler.Update(t.Context(), event.UpdateEvent{ObjectOld: policy, ObjectNew: policy}, q)
	item, priority, _ := q.GetWithPriority()
	g.Expect(item).To(Equal(watch.NewRequest("", "p")))
	g.Expect(priority).To(Equal(watch.UrgentPriority))
	q.Done(item)

	handler.Create(t.Context(), event.CreateEvent{Object: policy, IsInInitialList: true}, q)
	item, priority, _ = q.GetWithPriority()
	g.Expect(item.Name).To(HavePrefix("flood-"), "an object from before the start is not urgent")
	g.Expect(priority).To(BeZero())
}

// A deleted policy waits until no record of a node names the policy, and the cache may show
// the end of a record after all other events. Active policies do not depend on records.
func TestDeletedPolicyIsQueuedWhenARecordGoes(t *testing.T) {
	g := NewWithT(t)
	q := priorityqueue.New[reconcile.Request]("test")
	defer q.ShutDown()
	going := &v1alpha1.ControlPlaneNetworkPolicy{ObjectMeta: metav1.ObjectMeta{
		Name: "going", Finalizers: []string{v1alpha1.Finalizer}, DeletionTimestamp: &metav1.Time{Time: time.Unix(1, 0)},
	}}
	active := &v1alpha1.ControlPlaneNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "active"}}
	c := fake.NewClientBuilder().WithScheme(operator.NewScheme()).WithObjects(going, active).Build()
	handler := watches{Watcher: watch.Watcher{Observe: state.Observer{Cache: c}}}.policiesOfNodeRecord()
	record := &v1alpha1.ControlPlaneNodeRecord{ObjectMeta: metav1.ObjectMeta{Name: "cp-1"}}
	handler.Delete(t.Context(), event.DeleteEvent{Object: record}, q)
	g.Eventually(q.Len, 10*timing.ReportDelay).Should(Equal(1))
	item, _ := q.Get()
	g.Expect(item).To(Equal(watch.NewRequest("", "going")))
	q.Done(item)
	g.Consistently(q.Len, 2*timing.ReportDelay).Should(BeZero())
}

func TestInventedPolicyNamesAreNotQueued(t *testing.T) {
	g := NewWithT(t)
	q := priorityqueue.New[reconcile.Request]("test")
	defer q.ShutDown()
	handler := watches{Watcher: watching("p")}.policyOfNetworkPolicy()
	create := func(name string) {
		object := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name}}
		handler.Create(t.Context(), event.CreateEvent{Object: object}, q)
	}
	for i := range 200 {
		create(fmt.Sprintf("cpnp.invented-%d.a", i))
	}
	create("other")
	create("cpnp.p.a")
	item, _ := q.Get()
	g.Expect(item).To(Equal(watch.NewRequest("", "p")))
	g.Expect(q.Len()).To(BeZero())
}

// asked is a queue that only notes what is asked for.
type asked struct {
	watch.Queue
	now, later int
}

func (a *asked) Add(reconcile.Request)                     { a.now++ }
func (a *asked) AddAfter(reconcile.Request, time.Duration) { a.later++ }

// The event of the operator's own write only concerns the report. Any other event of the
// object is looked at once.
func TestOwnWritesOfNetworkPoliciesWait(t *testing.T) {
	g, echoes, q := NewWithT(t), &freshness.Echoes{}, &asked{}
	handler := watches{watching("p"), echoes}.policyOfNetworkPolicy()
	object := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "cpnp.p.a"}}
	api := fake.NewClientBuilder().WithScheme(operator.NewScheme()).WithObjects(object).Build()
	g.Expect(api.Get(t.Context(), client.ObjectKeyFromObject(object), object)).To(Succeed())
	before := object.DeepCopy()
	object.Labels = map[string]string{"written": "now"}
	c := freshness.NewClient(api, &freshness.Confirmed{}, echoes, clocktesting.NewFakePassiveClock(time.Now()))
	g.Expect(c.Patch(t.Context(), object, client.MergeFrom(before))).To(Succeed())

	handler.Update(t.Context(), event.UpdateEvent{ObjectOld: before, ObjectNew: object}, q)
	g.Expect(*q).To(Equal(asked{later: 1}), "the operator's own write")
	changed := object.DeepCopy()
	changed.ResourceVersion += "0"
	handler.Update(t.Context(), event.UpdateEvent{ObjectOld: object, ObjectNew: changed}, q)
	g.Expect(*q).To(Equal(asked{now: 1, later: 1}), "a later write of somebody else")
	handler.Delete(t.Context(), event.DeleteEvent{Object: object}, q)
	g.Expect(*q).To(Equal(asked{now: 2, later: 1}), "a deletion")
}
