// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"testing"

	. "github.com/onsi/gomega"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/controllers/watch"
	operator "github.com/cpnp-dev/cpnp-operator/internal/options"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

func watching(policies ...string) watch.Watcher {
	c := fake.NewClientBuilder().WithScheme(operator.NewScheme())
	for _, name := range policies {
		c = c.WithObjects(&v1alpha1.ControlPlaneNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
	return watch.Watcher{Observe: state.Observer{Cache: c.Build()}}
}

func TestWhatSomebodyDoesToAPolicyComesBeforeAFlood(t *testing.T) {
	g := NewWithT(t)
	q := priorityqueue.New[reconcile.Request]("test")
	defer q.ShutDown()
	for i := range 1000 {
		q.Add(watch.NewRequest("", fmt.Sprint("flood-", i)))
	}
	policy := &v1alpha1.ControlPlaneNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "p"}}
	handler := watch.WithUrgency(watches{watching("p")}.policiesOfPolicy())
	handler.Update(t.Context(), event.UpdateEvent{ObjectOld: policy, ObjectNew: policy}, q)
	item, priority, _ := q.GetWithPriority()
	g.Expect(item).To(Equal(watch.NewRequest("", "p")))
	g.Expect(priority).To(Equal(watch.UrgentPriority))
	q.Done(item)

	handler.Create(t.Context(), event.CreateEvent{Object: policy, IsInInitialList: true}, q)
	item, priority, _ = q.GetWithPriority()
	g.Expect(item.Name).To(HavePrefix("flood-"), "what was so before the start is not urgent")
	g.Expect(priority).To(BeZero())
}

func TestNamesThatOthersInventAreNotWorkedOn(t *testing.T) {
	g := NewWithT(t)
	q := priorityqueue.New[reconcile.Request]("test")
	defer q.ShutDown()
	handler := watches{watching("p")}.policyOfNetworkPolicy()
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
