// SPDX-License-Identifier: Apache-2.0

package state

import (
	"maps"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// Addresses are the addresses that identify nodes. One that several nodes show
// identifies none of them, such as the private address that a hypervisor's NAT
// gives to every machine, or one external address of all: it is left out. So is one that
// a node notes of an overlay device, and that is none of the overlay network.
type Addresses struct {
	byNode  map[string][]netip.Addr
	shared  map[netip.Addr][]string
	outside map[string][]netip.Addr
}

// AddressesOf returns the addresses that identify the nodes.
func AddressesOf(nodes []corev1.Node, tunnels Tunnels) Addresses {
	a := Addresses{
		byNode: make(map[string][]netip.Addr, len(nodes)), shared: map[netip.Addr][]string{}, outside: map[string][]netip.Addr{},
	}
	owners := make(map[netip.Addr]string, 2*len(nodes))
	for i := range nodes {
		name := nodes[i].Name
		a.byNode[name] = NodeAddresses(&nodes[i])
		if outside := tunnels.outside(&nodes[i]); len(outside) > 0 {
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

// Of returns the addresses that identify a node, sorted.
func (a Addresses) Of(node string) []netip.Addr { return a.byNode[node] }

// Shared returns the addresses that several nodes show, sorted.
func (a Addresses) Shared() []netip.Addr {
	return slices.SortedFunc(maps.Keys(a.shared), netip.Addr.Compare)
}

// Showing returns the names of the nodes that show a shared address.
func (a Addresses) Showing(address netip.Addr) []string { return a.shared[address] }

// Outside returns the addresses that nodes note of their overlay devices and that are
// none of the overlay network, by the node.
func (a Addresses) Outside() map[string][]netip.Addr { return a.outside }

// Prefixes is Of as networks of one address each.
func (a Addresses) Prefixes(node string) []netip.Prefix {
	addresses := a.byNode[node]
	prefixes := make([]netip.Prefix, 0, len(addresses))
	for _, address := range addresses {
		prefixes = append(prefixes, netip.PrefixFrom(address, address.BitLen()))
	}
	return prefixes
}
