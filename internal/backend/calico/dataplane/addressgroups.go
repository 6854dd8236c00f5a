// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"net/netip"
	"sort"

	"go4.org/netipx"
)

// Group has one address of a class, and a second address of a different node if there
// is one.
type Group struct {
	Class     Class
	Addresses []netip.Addr
}

// AddressGroups groups addresses by class, in the order in which the classes were
// found.
type AddressGroups struct {
	Groups  []*Group
	byClass map[Class]*Group
}

// AddNetwork adds the classes of all addresses of a network.
func (s *AddressGroups) AddNetwork(c *Classes, net netip.Prefix) {
	s.offerAddress(c, net.Addr())
	if net.IsSingleIP() {
		return
	}
	last := netipx.PrefixLastIP(net)
	i := sort.Search(len(c.boundaries), func(i int) bool { return c.boundaries[i].address.Compare(net.Addr()) > 0 })
	for ; i < len(c.boundaries) && c.boundaries[i].address.Compare(last) <= 0; i++ {
		s.offerAddress(c, c.boundaries[i].address)
	}
}

func (s *AddressGroups) offerAddress(c *Classes, a netip.Addr) {
	class := c.ClassOf(a)
	g := s.byClass[class]
	if g == nil {
		if s.byClass == nil {
			s.byClass = map[Class]*Group{}
		}
		g = &Group{Class: class}
		s.byClass[class] = g
		s.Groups = append(s.Groups, g)
	}
	if len(g.Addresses) == 0 || len(g.Addresses) == 1 && c.onDifferentNodes(a, g.Addresses[0]) {
		g.Addresses = append(g.Addresses, a)
	}
}

// onDifferentNodes says whether two addresses belong to different nodes, or to machines
// that are unknown.
func (c *Classes) onDifferentNodes(a, b netip.Addr) bool {
	return a != b && (c.world.owners[a] == nil || c.world.owners[a] != c.world.owners[b])
}
