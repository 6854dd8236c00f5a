// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"slices"
	"testing"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	corev1 "k8s.io/api/core/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
)

// A kubelet that also shows the addresses of other nodes does not cut these nodes off, even if
// they have further addresses: their packets have the source address that their routes select.
func TestAllowedAddressStaysWhenAnotherNodeShowsItToo(t *testing.T) {
	g := NewWithT(t)
	tunnel := func(n *corev1.Node, address string) *corev1.Node {
		n.Annotations = map[string]string{"projectcalico.org/IPv4VXLANTunnelAddr": address}
		return n
	}
	nodes := []*corev1.Node{
		tunnel(machine("cp-1", "10.0.0.1"), "10.244.0.1"), tunnel(machine("cp-2", "10.0.0.2"), "10.244.1.1"),
		tunnel(machine("worker-1", "10.0.0.3"), "10.244.2.1"), tunnel(machine("worker-2", "10.0.0.4"), "10.244.3.1"),
	}
	all := func(p *v1alpha1.ControlPlaneNetworkPolicy) {
		p.Spec.Network.Components[0].AllowFrom = append(p.Spec.Network.Components[0].AllowFrom, v1alpha1.PeerReference{Role: "Nodes"})
	}
	before := protect(t, machines(nodes...), all)
	there := calico.Live{Mode: calico.Native}
	for _, object := range before.WholeObjects {
		if set, is := object.(*v3.GlobalNetworkSet); is {
			there.Sets = append(there.Sets, *set)
		}
	}
	lied := slices.Clone(nodes)
	lied[3] = tunnel(machine("worker-2", "10.0.0.4", "10.0.0.1", "10.0.0.2", "10.0.0.3"), "10.244.3.1")
	snapshot := machines(lied...)
	snapshot.Backend = there
	after := protect(t, snapshot, all)
	g.Expect(after.Held).To(BeEmpty(), "the policy is not held either")
	g.Expect(netsOf(after, "control-plane")).To(Equal(netsOf(before, "control-plane")))
	g.Expect(netsOf(after, "nodes")).To(Equal(netsOf(before, "nodes")))
}
