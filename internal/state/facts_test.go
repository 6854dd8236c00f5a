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

// Whoever may write to the namespace default can give the Service a selector, or make
// slices with its label.
func TestOnlyTheSliceOfTheAPIServersCounts(t *testing.T) {
	slice := func(namespace, name string) *discoveryv1.EndpointSlice {
		return &discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: "kubernetes"}},
			Endpoints:  []discoveryv1.Endpoint{{Addresses: []string{"10.0.0.1"}}},
			Ports:      []discoveryv1.EndpointPort{{Port: ptr.To[int32](6443)}},
		}
	}
	g := NewWithT(t)
	g.Expect(state.APIServerAddresses(slice("default", "kubernetes"))).To(HaveLen(1))
	g.Expect(state.APIServerAddresses(slice("default", "kubernetes-x7k2p"))).To(BeEmpty(), "what the controller makes of a selector")
	g.Expect(state.APIServerAddresses(slice("shop", "kubernetes"))).To(BeEmpty())
}
