// SPDX-License-Identifier: Apache-2.0

package service_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/controllers/service"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/options"
	"github.com/cpnp-dev/cpnp-operator/internal/repair"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// api answers every apply with what was sent, and counts them. The cache does not follow.
type api struct {
	client.Client
	applied int
}

func (a *api) Apply(_ context.Context, object runtime.ApplyConfiguration, _ ...client.ApplyOption) error {
	a.applied++
	body, err := json.Marshal(object)
	if err != nil {
		return err
	}
	return object.(interface{ UnmarshalJSON([]byte) error }).UnmarshalJSON(body)
}

// A Service whose last repair the cache does not show yet was not released, and the deletion of
// the policy waits for it.
func TestServiceBehindTheCacheIsNotReleased(t *testing.T) {
	g := NewWithT(t)
	policy := &v1alpha1.ControlPlaneNetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "p", UID: "p", Generation: 1, Finalizers: []string{v1alpha1.Finalizer}},
		Spec: v1alpha1.ControlPlaneNetworkPolicySpec{
			Mode:         v1alpha1.ModeEnforce,
			NodeSelector: v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"cp": ""}},
			Services: []v1alpha1.ServiceTrafficPolicy{{
				Name: "s", Selector: v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"app": "x"}}, ExternalTrafficPolicy: "Cluster",
			}},
		},
		Status: v1alpha1.ControlPlaneNetworkPolicyStatus{ObservedGeneration: 1, RecordFormat: drift.RecordFormat,
			Conditions: []metav1.Condition{{Type: v1alpha1.ConditionVerified, Status: metav1.ConditionTrue, ObservedGeneration: 1}}},
	}
	web := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "web", Labels: map[string]string{"app": "x"}, Annotations: map[string]string{
			v1alpha1.AnnotationRecord: `{"externalTrafficPolicy":{"policy":"p","applied":"Cluster","original":"Local"}}`,
		}},
		// Somebody has changed the field: drift, which the operator repairs.
		Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, ExternalTrafficPolicy: "Local"},
	}
	cache := fake.NewClientBuilder().WithScheme(options.NewScheme()).WithObjects(policy, web, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}).Build()
	server := &api{}
	r := &service.Reconciler{
		Observe: state.Observer{Cache: cache}, Client: server, Writing: &repair.Writing{},
		Repairer: repair.Repairer{
			Clock: clocktesting.NewFakePassiveClock(time.Now()), History: drift.NewHistory(), Report: func(string) {}, Retries: &repair.Retries{}, Releases: &repair.Releases{},
		},
	}
	key := reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "shop", Name: "web"}}
	_, err := r.Reconcile(t.Context(), key)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(server.applied).To(Equal(1), "the repair: the API server has externalTrafficPolicy Cluster, the record, and a newer version")

	// The watch of Services lags. The policy is deleted.
	g.Expect(cache.Delete(t.Context(), policy)).To(Succeed())
	result, err := r.Reconcile(t.Context(), key)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(result.RequeueAfter).To(BeNumerically(">", 0))
	g.Expect(server.applied).To(Equal(1), "no write: the cache does not show the last one yet")
	g.Expect(r.Releases.Has("p", drift.Object{Kind: "Service", Namespace: "shop", Name: "web"})).To(BeFalse())
}
