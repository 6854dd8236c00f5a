// SPDX-License-Identifier: Apache-2.0

package state

import (
	"maps"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// Addresses are the addresses that identify nodes. An address shown by several nodes
// identifies no node, and is left out: for example the same private address of every
// machine behind a hypervisor's NAT, or a common external address. An address noted for an
// overlay device, but outside of the overlay network, is left out too.
type Addresses struct {
	byNode  map[string][]netip.Addr
	shared  map[netip.Addr][]string
	outside map[string][]netip.Addr
}

// AddressesOf returns the addresses that identify the nodes.
func AddressesOf(nodes []*corev1.Node, tunnels Tunnels) Addresses {
	a := Addresses{
		byNode: make(map[string][]netip.Addr, len(nodes)), shared: map[netip.Addr][]string{}, outside: map[string][]netip.Addr{},
	}
	owners := make(map[netip.Addr]string, 2*len(nodes))
	for i := range nodes {
		name := nodes[i].Name
		a.byNode[name] = NodeAddresses(nodes[i])
		if outside := tunnels.addressesOutside(nodes[i]); len(outside) > 0 {
			a.outside[name] = outside
			a.byNode[name] = slices.DeleteFunc(a.byNode[name], func(other netip.Addr) bool { return slices.Contains(outside, other) })
		}
		for _, address := range a.byNode[name] {
			owner, taken := owners[address]
			switch {
			case !taken:
				owners[address] = name
			case a.shared[address] == nil:
				a.shared[address] = []string{owner, name}
			default:
				a.shared[address] = append(a.shared[address], name)
			}
		}
	}
	for address, names := range a.shared {
		for _, name := range names {
			a.byNode[name] = slices.DeleteFunc(a.byNode[name], func(other netip.Addr) bool { return other == address })
		}
	}
	return a
}

// OfNode returns the addresses that identify a node, sorted.
func (a Addresses) OfNode(node string) []netip.Addr { return a.byNode[node] }

// SharedAddresses returns the addresses that several nodes show, sorted.
func (a Addresses) SharedAddresses() []netip.Addr {
	return slices.SortedFunc(maps.Keys(a.shared), netip.Addr.Compare)
}

// NodesShowing returns the names of the nodes that show a shared address.
func (a Addresses) NodesShowing(address netip.Addr) []string { return a.shared[address] }

// OutsideOverlay returns, by node, the addresses noted for overlay devices but outside
// of the overlay network.
func (a Addresses) OutsideOverlay() map[string][]netip.Addr { return a.outside }

// PrefixesOf returns the addresses of OfNode as networks of one address each.
func (a Addresses) PrefixesOf(node string) []netip.Prefix {
	addresses := a.byNode[node]
	prefixes := make([]netip.Prefix, 0, len(addresses))
	for _, address := range addresses {
		prefixes = append(prefixes, netip.PrefixFrom(address, address.BitLen()))
	}
	return prefixes
}
