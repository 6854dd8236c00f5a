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
// gives to every machine, or one external address of all: it is left out.
type Addresses struct {
	byNode map[string][]netip.Addr
	shared map[netip.Addr][]string
}

// AddressesOf returns the addresses that identify the nodes.
func AddressesOf(nodes []corev1.Node) Addresses {
	a := Addresses{byNode: make(map[string][]netip.Addr, len(nodes)), shared: map[netip.Addr][]string{}}
	owners := make(map[netip.Addr]string, 2*len(nodes))
	for i := range nodes {
		name := nodes[i].Name
		a.byNode[name] = NodeAddresses(&nodes[i])
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

// Prefixes is Of as networks of one address each.
func (a Addresses) Prefixes(node string) []netip.Prefix {
	addresses := a.byNode[node]
	prefixes := make([]netip.Prefix, 0, len(addresses))
	for _, address := range addresses {
		prefixes = append(prefixes, netip.PrefixFrom(address, address.BitLen()))
	}
	return prefixes
}
