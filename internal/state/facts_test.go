// SPDX-License-Identifier: Apache-2.0

package state_test

import (
	"testing"

	. "github.com/onsi/gomega"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// Anyone who may write to the namespace default can give the Service a
// selector, or make slices with the Service's label.
func TestOnlyTheAPIServersOwnSliceCounts(t *testing.T) {
	slice := func(namespace, name string) *state.EndpointSlice {
		return cachedSlice(t, &discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: "kubernetes"}},
			Endpoints:  []discoveryv1.Endpoint{{Addresses: []string{"10.0.0.1"}}},
			Ports:      []discoveryv1.EndpointPort{{Port: ptr.To[int32](6443)}},
		})
	}
	g := NewWithT(t)
	g.Expect(state.APIServerAddresses(slice("default", "kubernetes"))).To(HaveLen(1))
	g.Expect(state.APIServerAddresses(slice("default", "kubernetes-x7k2p"))).To(BeEmpty(), "a slice that the controller makes from a selector")
	g.Expect(state.APIServerAddresses(slice("shop", "kubernetes"))).To(BeEmpty())
}
