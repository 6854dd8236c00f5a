// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"net/netip"
	"sort"

	"go4.org/netipx"
)

// Group is one address of a class, and another that is not the same node's, if
// there is one.
type Group struct {
	Class     Class
	Addresses []netip.Addr
}

// Senders are groups in the order in which they were found.
type Senders struct {
	Groups []*Group
	known  map[Class]*Group
}

// Add adds the classes of a network.
func (s *Senders) Add(c *Classes, net netip.Prefix) {
	s.offer(c, net.Addr())
	if net.IsSingleIP() {
		return
	}
	last := netipx.PrefixLastIP(net)
	i := sort.Search(len(c.marks), func(i int) bool { return c.marks[i].at.Compare(net.Addr()) > 0 })
	for ; i < len(c.marks) && c.marks[i].at.Compare(last) <= 0; i++ {
		s.offer(c, c.marks[i].at)
	}
}

func (s *Senders) offer(c *Classes, a netip.Addr) {
	class := c.Of(a)
	g := s.known[class]
	if g == nil {
		if s.known == nil {
			s.known = map[Class]*Group{}
		}
		g = &Group{Class: class}
		s.known[class] = g
		s.Groups = append(s.Groups, g)
	}
	if len(g.Addresses) == 0 || len(g.Addresses) == 1 && c.apart(a, g.Addresses[0]) {
		g.Addresses = append(g.Addresses, a)
	}
}

// apart says whether two addresses are not of one node, as far as is known.
func (c *Classes) apart(a, b netip.Addr) bool {
	return a != b && (c.w.owners[a] == nil || c.w.owners[a] != c.w.owners[b])
}
