// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"sort"

	"go4.org/netipx"
)

// Classes tells apart what the policies of a world can tell apart, so that one
// of each class stands for all: of the addresses, and of the ports.
//
// Every set of addresses that a rule, or a failsafe port, mentions has a random
// number. An address is in the class that the numbers of its sets add up to.
type Classes struct {
	w     *World
	marks []mark // sorted by address
	ports []uint16
	hosts map[*host]uint64
}

// mark is where the class of addresses changes. From there on it is sum.
type mark struct {
	at       netip.Addr
	add, sum uint64
}

// Classes returns those of the policies that select an endpoint of a known node.
func (w *World) Classes() *Classes {
	c := &Classes{w: w, hosts: map[*host]uint64{}}
	for _, p := range w.inForce() {
		for direction := range p.applies {
			for i := range p.rulesFor(w, direction) {
				r := &p.rules[direction][i]
				c.entity(&r.from)
				c.entity(&r.to)
			}
		}
	}
	c.add(w.hidden, number("hidden"))
	for _, h := range w.nodes {
		c.host(h)
	}
	c.sort()
	return c
}

// inForce returns the policies that select an endpoint of a node.
func (w *World) inForce() []*policy {
	known := map[*policy]bool{}
	for _, h := range w.nodes {
		for _, e := range h.endpoints {
			for _, p := range w.selecting(e) {
				known[p] = true
			}
		}
	}
	var out []*policy
	for _, t := range w.tiers {
		for _, p := range t.policies {
			if known[p] {
				out = append(out, p)
			}
		}
	}
	return out
}

func (c *Classes) entity(e *entity) {
	for _, f := range []families{e.nets, e.notNets} {
		if f.any {
			c.add(f.set, number(f.set.Ranges()))
		}
	}
	if e.members != nil && e.members.set != nil {
		c.add(e.members.set, number(fmt.Sprintf("%p", e.members)))
	}
	for _, list := range [][]uint16{bounds(e.ports), bounds(e.notPorts)} {
		c.ports = append(c.ports, list...)
	}
}

// host gives the addresses of a node that has endpoints, or that are among those
// of workloads, a class of their own.
func (c *Classes) host(h *host) {
	key := uint64(0)
	if len(h.endpoints) > 0 {
		key = number(c.describe(h))
	}
	c.hosts[h] = key
	for _, address := range h.addresses() {
		switch {
		case key != 0:
			c.point(address, key)
		case c.w.hidden.Contains(address):
			c.point(address, number("owned"))
		}
	}
}

func (h *host) addresses() []netip.Addr {
	out := slices.Clone(h.Addresses)
	for _, more := range h.Interfaces {
		for _, address := range more {
			if !slices.Contains(out, address) {
				out = append(out, address)
			}
		}
	}
	return out
}

// describe returns what is the same for hosts that no flow can tell apart.
func (c *Classes) describe(h *host) []any {
	out := []any{h.felix.noIPv6, h.felix.nft, h.felix.unmodelled, h.felix.in.ports, h.felix.out.ports}
	for _, e := range h.endpoints {
		spec := e.spec.Spec
		out = append(out, spec.InterfaceName, spec.Profiles)
		if spec.InterfaceName == "" {
			out = append(out, spec.ExpectedIPs)
		}
		for _, p := range c.w.selecting(e) {
			out = append(out, p.spec.Name)
		}
		if len(h.endpoints) > 1 {
			out = append(out, e.spec.Name)
		}
	}
	for _, list := range []failsafes{h.felix.in, h.felix.out} {
		for _, port := range list.ports {
			c.ports = append(c.ports, port.Port, port.Port+1)
			if net, ok := ParseNet(port.Net); ok {
				c.span(netipx.RangeOfPrefix(net), number(net))
			}
		}
	}
	return out
}

// number is as good as random, and the same for the same.
func number(what any) uint64 {
	h := fnv.New64a()
	_, _ = fmt.Fprint(h, what) // never fails
	// What FNV does with the last bytes is too regular to be added up.
	x := h.Sum64()
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func (c *Classes) add(set *netipx.IPSet, number uint64) {
	for _, r := range set.Ranges() {
		c.span(r, number)
	}
}

func (c *Classes) point(a netip.Addr, number uint64) { c.span(netipx.IPRangeFrom(a, a), number) }

func (c *Classes) span(r netipx.IPRange, number uint64) {
	c.marks = append(c.marks, mark{at: r.From(), add: number})
	end := r.To().Next()
	if !end.IsValid() && r.To().Is4() {
		end = netip.IPv6Unspecified() // the first address after those of IPv4
	}
	if end.IsValid() {
		c.marks = append(c.marks, mark{at: end, add: -number})
	}
}

func (c *Classes) sort() {
	slices.SortFunc(c.marks, func(a, b mark) int { return a.at.Compare(b.at) })
	sum := uint64(0)
	merged := c.marks[:0]
	for _, m := range c.marks {
		sum += m.add
		m.sum = sum
		if n := len(merged); n > 0 && merged[n-1].at == m.at {
			merged[n-1].sum = sum
			continue
		}
		merged = append(merged, m)
	}
	c.marks = merged
	slices.Sort(c.ports)
	c.ports = slices.Compact(c.ports)
}

// Class is what addresses, and nodes that have them, have in common.
type Class struct {
	sum  uint64
	ipv4 bool
	host uint64
}

// Of returns the class of an address.
func (c *Classes) Of(a netip.Addr) Class {
	i := sort.Search(len(c.marks), func(i int) bool { return c.marks[i].at.Compare(a) > 0 })
	class := Class{ipv4: a.Is4()}
	if i > 0 {
		class.sum = c.marks[i-1].sum
	}
	if h := c.w.owners[a]; h != nil {
		class.host = c.hosts[h]
	}
	return class
}

// Senders is one address of each class, and another of the class that is not the
// same node's, if there is one.
type Senders map[Class][]netip.Addr

// Add adds those of a network.
func (c *Classes) Add(senders Senders, net netip.Prefix) {
	c.offer(senders, net.Addr())
	if net.IsSingleIP() {
		return
	}
	last := netipx.PrefixLastIP(net)
	i := sort.Search(len(c.marks), func(i int) bool { return c.marks[i].at.Compare(net.Addr()) > 0 })
	for ; i < len(c.marks) && c.marks[i].at.Compare(last) <= 0; i++ {
		c.offer(senders, c.marks[i].at)
	}
}

func (c *Classes) offer(senders Senders, a netip.Addr) {
	class := c.Of(a)
	list := senders[class]
	if len(list) == 0 || len(list) == 1 && (c.w.owners[list[0]] == nil || c.w.owners[list[0]] != c.w.owners[a]) && list[0] != a {
		senders[class] = append(list, a)
	}
}

// Ports returns ports of a range, such that between them no rule tells two
// apart.
func (c *Classes) Ports(first, last uint16) []uint16 {
	out := []uint16{first}
	i, _ := slices.BinarySearch(c.ports, first+1)
	for ; i < len(c.ports) && c.ports[i] <= last; i++ {
		out = append(out, c.ports[i])
	}
	return out
}
