// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

// The indexes of the cache find the same objects as a look at every object.
func TestIndexesFindWhatALookAtEveryObjectFinds(t *testing.T) {
	g := NewWithT(t)
	slice := func(namespace, name, service string) *discoveryv1.EndpointSlice {
		s := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, AddressType: "IPv4"}
		if service != "" {
			s.Labels = map[string]string{discoveryv1.LabelServiceName: service}
		}
		return s
	}
	service := func(name string, kind corev1.ServiceType) *corev1.Service {
		return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}, Spec: corev1.ServiceSpec{Type: kind}}
	}
	objects := []client.Object{
		slice("shop", "web-1", "web"), slice("shop", "web-2", "web"), slice("shop", "api-1", "api"), slice("other", "web-1", "web"),
		slice("shop", "alone", ""), service("web", corev1.ServiceTypeLoadBalancer), service("api", corev1.ServiceTypeClusterIP),
	}
	stores := map[bool]toolscache.Indexer{
		true:  toolscache.NewIndexer(toolscache.MetaNamespaceKeyFunc, IndexersOf(&discoveryv1.EndpointSlice{})),
		false: toolscache.NewIndexer(toolscache.MetaNamespaceKeyFunc, IndexersOf(&corev1.Service{})),
	}
	for _, object := range objects {
		_, isSlice := object.(*discoveryv1.EndpointSlice)
		cached, err := TransformEndpointSlice(object)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(stores[isSlice].Add(cached)).To(Succeed())
	}
	copying := Observer{Cache: fake.NewClientBuilder().WithObjects(objects...).Build()}
	indexed := Observer{Stores: func(_ context.Context, kind client.Object) (toolscache.Indexer, error) {
		_, isSlice := kind.(*discoveryv1.EndpointSlice)
		return stores[isSlice], nil
	}}
	for name, observer := range map[string]Observer{"copies": copying, "indexes": indexed} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			found, err := observer.slicesOf(t.Context(), types.NamespacedName{Namespace: "shop", Name: "web"})
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(found).To(ConsistOf(HaveField("Name", "web-1"), HaveField("Name", "web-2")))
			g.Expect(found).To(HaveEach(HaveField("Namespace", "shop")))
			exposed, err := observer.ListExposedServices(t.Context())
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(exposed).To(ConsistOf(HaveField("Name", "web")))
		})
	}
	bare := Observer{Stores: func(context.Context, client.Object) (toolscache.Indexer, error) {
		return toolscache.NewIndexer(toolscache.MetaNamespaceKeyFunc, toolscache.Indexers{}), nil
	}}
	_, err := bare.slicesOf(t.Context(), types.NamespacedName{})
	g.Expect(err).To(MatchError(ContainSubstring(slicesByService)), "an empty answer would be taken for a Service without endpoints")
}
