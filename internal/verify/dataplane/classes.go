// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"hash/fnv"
	"maps"
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
	w      *World
	marks  []mark   // sorted by address
	ports  []uint16 // all that are in ranges too
	safe   []uint16 // those of failsafe ports
	ranges []ranges
	hosts  map[string]uint64 // of nodes that have endpoints
}

// ranges are the ports at which a rule begins or ends to match.
type ranges struct {
	w     *World
	rule  *rule
	ports []uint16
}

// mark is where the class of addresses changes. From there on it is sum.
type mark struct {
	at       netip.Addr
	add, sum uint64
}

// Classes returns those of the policies that select an endpoint of a known node.
func (w *World) Classes() *Classes {
	c := &Classes{w: w, hosts: map[string]uint64{}}
	for _, p := range w.inForce() {
		for direction := range p.applies {
			for i := range p.rulesFor(w, direction) {
				c.rule(&p.rules[direction][i])
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

func (c *Classes) rule(r *rule) {
	at := ranges{w: c.w, rule: r}
	for _, e := range []*entity{&r.from, &r.to} {
		c.entity(e)
		at.ports = append(at.ports, bounds(e.ports)...)
		at.ports = append(at.ports, bounds(e.notPorts)...)
	}
	if len(at.ports) > 0 {
		c.ports, c.ranges = append(c.ports, at.ports...), append(c.ranges, at)
	}
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
}

// host gives the addresses of a node that has endpoints, or that are among those
// of workloads, a class of their own.
func (c *Classes) host(h *host) {
	key := uint64(0)
	if len(h.endpoints) > 0 {
		key = number(c.describe(h))
		c.hosts[h.Name] = key
	}
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
	felix := c.w.config(h)
	out := []any{felix.noIPv6, felix.nft, felix.unmodelled, felix.in.ports, felix.out.ports}
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
	for _, list := range []failsafes{felix.in, felix.out} {
		for _, port := range list.ports {
			c.safe = append(c.safe, port.Port, port.Port+1)
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
	slices.Sort(c.safe)
	c.safe = slices.Compact(c.safe)
	c.ports = append(c.ports, c.safe...)
	slices.Sort(c.ports)
	c.ports = slices.Compact(c.ports)
}

// And returns classes that tell apart what either of two worlds of the same nodes
// can tell apart.
func (c *Classes) And(other *Classes) *Classes {
	// The same number means something else in the other world: what changes
	// places with another from one to the other is not the same as it.
	const inTheOther = 0x9e3779b97f4a7c15 // odd, so that different numbers stay so
	out := &Classes{
		w: c.w, hosts: maps.Clone(c.hosts), ports: slices.Concat(c.ports, other.ports),
		safe: slices.Concat(c.safe, other.safe), ranges: slices.Concat(c.ranges, other.ranges),
	}
	for name, key := range other.hosts {
		out.hosts[name] += key * inTheOther
	}
	out.marks = make([]mark, 0, len(c.marks)+len(other.marks))
	out.take(c.marks, 1)
	out.take(other.marks, inTheOther)
	out.sort()
	return out
}

// take adds marks that were sorted before.
func (c *Classes) take(marks []mark, factor uint64) {
	before := uint64(0)
	for _, m := range marks {
		c.marks = append(c.marks, mark{at: m.at, add: (m.sum - before) * factor})
		before = m.sum
	}
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
		class.host = c.hosts[h.Name]
	}
	return class
}

// Ports returns ports of a range, such that between them no rule tells two
// apart.
func (c *Classes) Ports(first, last uint16) []uint16 {
	return within(c.ports, first, last)
}

// PortsBetween is Ports for what one address sends to another: rules that are not
// for these tell nothing apart.
func (c *Classes) PortsBetween(from, to netip.Addr, first, last uint16) []uint16 {
	ports := slices.Clone(c.safe)
	for _, at := range c.ranges {
		if at.rule.from.holds(at.w, from) != no && at.rule.to.holds(at.w, to) != no {
			ports = append(ports, at.ports...)
		}
	}
	slices.Sort(ports)
	return within(slices.Compact(ports), first, last)
}

// within returns the first port of a range, and those of a sorted list that follow
// in it.
func within(ports []uint16, first, last uint16) []uint16 {
	out := []uint16{first}
	i, _ := slices.BinarySearch(ports, first)
	for ; i < len(ports) && ports[i] <= last; i++ {
		if ports[i] > first {
			out = append(out, ports[i])
		}
	}
	return out
}

// IPv4 says whether the addresses are of IPv4.
func (c Class) IPv4() bool { return c.ipv4 }

// Selects says whether a rule that is in force has a selector for what has these
// labels.
func (w *World) Selects(labels map[string]string) bool {
	for _, p := range w.inForce() {
		for direction := range p.applies {
			for i := range p.rulesFor(w, direction) {
				r := &p.rules[direction][i]
				if r.from.members.selects(labels) || r.to.members.selects(labels) {
					return true
				}
			}
		}
	}
	return false
}
