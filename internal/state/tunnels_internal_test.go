// SPDX-License-Identifier: Apache-2.0

package state

import (
	"net/netip"
	"testing"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
)

// A kubelet can report any address as that of its tunnel. Where the networks
// of tunnels are known, only an address in one of them counts.
func TestAddressesOfTunnelsAreOfTheirNetworks(t *testing.T) {
	const vxlan, vxlan6 = "projectcalico.org/IPv4VXLANTunnelAddr", "projectcalico.org/IPv6VXLANTunnelAddr"
	const host = "network.cilium.io/ipv4-cilium-host"
	pools := func(cidrs ...string) (there calico.Live) {
		for _, cidr := range cidrs {
			there.Pools = append(there.Pools, v3.IPPool{Spec: v3.IPPoolSpec{CIDR: cidr, Disabled: true}})
		}
		return there
	}
	cilium := func(settings map[string]string) map[types.NamespacedName]map[string]string {
		return map[types.NamespacedName]map[string]string{{Namespace: "kube-system", Name: "cilium-config"}: settings}
	}
	for name, test := range map[string]struct {
		calico      calico.Live
		configMaps  map[types.NamespacedName]map[string]string
		annotations map[string]string
		outside     string
	}{
		"of a pool of Calico":                     {pools("10.244.0.0/16"), nil, map[string]string{vxlan: "10.244.7.1"}, ""},
		"of no pool":                              {pools("10.244.0.0/16"), nil, map[string]string{vxlan: "203.0.113.7"}, "203.0.113.7"},
		"of another family":                       {pools("10.244.0.0/16"), nil, map[string]string{vxlan6: "2001:db8::7"}, ""},
		"of the second pool":                      {pools("10.244.0.0/16", "fd00::/64"), nil, map[string]string{vxlan6: "fd00::7"}, ""},
		"of no pool of its family":                {pools("10.244.0.0/16", "fd00::/64"), nil, map[string]string{vxlan6: "2001:db8::7"}, "2001:db8::7"},
		"mapped":                                  {pools("10.244.0.0/16"), nil, map[string]string{vxlan: "::ffff:203.0.113.7"}, "203.0.113.7"},
		"where no pool is known":                  {calico.Live{}, nil, map[string]string{vxlan: "203.0.113.7"}, ""},
		"the address of the node":                 {pools("10.244.0.0/16"), nil, map[string]string{vxlan: "192.0.2.1"}, ""},
		"of Cilium's networks":                    {calico.Live{}, cilium(map[string]string{"ipam": "cluster-pool", "cluster-pool-ipv4-cidr": "10.0.0.0/8"}), map[string]string{host: "10.1.0.7"}, ""},
		"outside of Cilium's networks":            {calico.Live{}, cilium(map[string]string{"ipam": "cluster-pool", "cluster-pool-ipv4-cidr": "10.0.0.0/8"}), map[string]string{host: "203.0.113.7"}, "203.0.113.7"},
		"of the node's podCIDRs":                  {calico.Live{}, cilium(map[string]string{"ipam": "kubernetes"}), map[string]string{host: "10.9.1.7"}, ""},
		"of another node's podCIDRs":              {calico.Live{}, cilium(map[string]string{"ipam": "kubernetes"}), map[string]string{host: "10.9.2.7"}, "10.9.2.7"},
		"where Cilium does not show its networks": {pools("10.244.0.0/16"), cilium(map[string]string{"ipam": "eni"}), map[string]string{host: "203.0.113.7"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "a", Annotations: test.annotations}}
			node.Spec.PodCIDRs = []string{"10.9.1.0/24"}
			node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2.1"}}
			addresses := AddressesOf([]*corev1.Node{node}, tunnelsOf(test.calico, test.configMaps))
			g.Expect(addresses.OfNode("a")).To(ContainElement(netip.MustParseAddr("192.0.2.1")))
			if test.outside == "" {
				g.Expect(addresses.OutsideOverlay()).To(BeEmpty())
				g.Expect(addresses.OfNode("a")).To(Equal(NodeAddresses(node)))
				return
			}
			g.Expect(addresses.OutsideOverlay()).To(HaveKeyWithValue("a", []netip.Addr{netip.MustParseAddr(test.outside)}))
			g.Expect(addresses.OfNode("a")).To(HaveLen(1))
		})
	}
}
