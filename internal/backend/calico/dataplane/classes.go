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

// Classes are equivalence classes of the addresses and of the ports of a world: no
// policy of the world distinguishes two members of a class, so that one member is
// judged in place of all.
//
// Every set of addresses in a rule, or in a failsafe port, has a random number. The sum
// of the numbers of all sets with an address is the class of the address.
type Classes struct {
	world         *World
	boundaries    []boundary // sorted by address
	ports         []uint16   // of rules and of failsafe ports
	failsafePorts []uint16   // of failsafe ports only
	rulePorts     []rulePorts
	hostHashes    map[string]uint64 // by name, of nodes with endpoints
}

// rulePorts are the ports at which the match of a rule begins or ends.
type rulePorts struct {
	world *World
	rule  *rule
	ports []uint16
}

// boundary is an address at which the class of addresses changes: sum is the class from
// there on.
type boundary struct {
	address    netip.Addr
	delta, sum uint64
}

// BuildClasses returns the classes for the policies in force.
func (w *World) BuildClasses() *Classes {
	c := &Classes{world: w, hostHashes: map[string]uint64{}}
	for _, p := range w.policiesInForce() {
		for direction := range p.applies {
			for i := range p.rulesFor(w, direction) {
				c.addRule(&p.rules[direction][i])
			}
		}
	}
	c.addSet(w.workloadAddresses, hashOf("hidden"))
	for _, h := range w.nodes {
		c.addHost(h)
	}
	c.sortAndMerge()
	return c
}

// policiesInForce returns the policies that select an endpoint of a node.
func (w *World) policiesInForce() []*policy {
	known := map[*policy]bool{}
	for _, h := range w.nodes {
		for _, e := range h.endpoints {
			for _, p := range w.policiesSelecting(e) {
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

func (c *Classes) addRule(r *rule) {
	found := rulePorts{world: c.world, rule: r}
	for _, e := range []*entity{&r.source, &r.destination} {
		c.addEntity(e)
		found.ports = append(found.ports, portBoundaries(e.ports)...)
		found.ports = append(found.ports, portBoundaries(e.notPorts)...)
	}
	if len(found.ports) > 0 {
		c.ports, c.rulePorts = append(c.ports, found.ports...), append(c.rulePorts, found)
	}
}

func (c *Classes) addEntity(e *entity) {
	for _, f := range []networks{e.nets, e.notNets} {
		if f.given {
			c.addSet(f.set, hashOf(f.set.Ranges()))
		}
	}
	if e.members != nil && e.members.set != nil {
		c.addSet(e.members.set, hashOf(fmt.Sprintf("%p", e.members)))
	}
}

// addHost gives each address of a node with endpoints the class of the node. An address
// of another node gets a class apart if workloads may have the address too.
func (c *Classes) addHost(h *host) {
	hash := uint64(0)
	if len(h.endpoints) > 0 {
		hash = hashOf(c.describeHost(h))
		c.hostHashes[h.Name] = hash
	}
	for _, address := range h.allAddresses() {
		switch {
		case hash != 0:
			c.addAddress(address, hash)
		case c.world.workloadAddresses.Contains(address):
			c.addAddress(address, hashOf("owned"))
		}
	}
}

func (h *host) allAddresses() []netip.Addr {
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

// describeHost returns the facts by which a flow can tell a host from other hosts, and
// adds the ports and networks of the failsafe ports of the host.
func (c *Classes) describeHost(h *host) []any {
	felix := c.world.felixSettingsOn(h)
	out := []any{felix.ignoresIPv6, felix.maybeNFTables, felix.unmodelled, felix.inbound.ports, felix.outbound.ports}
	for _, e := range h.endpoints {
		spec := e.spec.Spec
		out = append(out, spec.InterfaceName, spec.Profiles)
		if spec.InterfaceName == "" {
			out = append(out, spec.ExpectedIPs)
		}
		for _, p := range c.world.policiesSelecting(e) {
			out = append(out, p.spec.Name)
		}
		if len(h.endpoints) > 1 {
			out = append(out, e.spec.Name)
		}
	}
	for _, list := range []failsafePorts{felix.inbound, felix.outbound} {
		for _, port := range list.ports {
			c.failsafePorts = append(c.failsafePorts, port.Port, port.Port+1)
			if net, ok := ParseNet(port.Net); ok {
				c.addRange(netipx.RangeOfPrefix(net), hashOf(net))
			}
		}
	}
	return out
}

// hashOf returns a number as good as random, and the same for equal values.
func hashOf(value any) uint64 {
	h := fnv.New64a()
	_, _ = fmt.Fprint(h, value) // never fails
	// The last bits of FNV are too regular for sums: mix the bits.
	x := h.Sum64()
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func (c *Classes) addSet(set *netipx.IPSet, hash uint64) {
	for _, r := range set.Ranges() {
		c.addRange(r, hash)
	}
}

func (c *Classes) addAddress(a netip.Addr, hash uint64) { c.addRange(netipx.IPRangeFrom(a, a), hash) }

func (c *Classes) addRange(r netipx.IPRange, hash uint64) {
	c.boundaries = append(c.boundaries, boundary{address: r.From(), delta: hash})
	end := r.To().Next()
	if !end.IsValid() && r.To().Is4() {
		end = netip.IPv6Unspecified() // the first address after IPv4
	}
	if end.IsValid() {
		c.boundaries = append(c.boundaries, boundary{address: end, delta: -hash})
	}
}

func (c *Classes) sortAndMerge() {
	slices.SortFunc(c.boundaries, func(a, b boundary) int { return a.address.Compare(b.address) })
	sum := uint64(0)
	merged := c.boundaries[:0]
	for _, m := range c.boundaries {
		sum += m.delta
		m.sum = sum
		if n := len(merged); n > 0 && merged[n-1].address == m.address {
			merged[n-1].sum = sum
			continue
		}
		merged = append(merged, m)
	}
	c.boundaries = merged
	slices.Sort(c.failsafePorts)
	c.failsafePorts = slices.Compact(c.failsafePorts)
	c.ports = append(c.ports, c.failsafePorts...)
	slices.Sort(c.ports)
	c.ports = slices.Compact(c.ports)
}

// CombineWith returns classes for two worlds of the same nodes: neither world
// distinguishes two members of a class.
func (c *Classes) CombineWith(other *Classes) *Classes {
	// Multiply the numbers of the other world: otherwise two sets that swap places
	// between the worlds would have equal sums in both.
	const otherWorldFactor = 0x9e3779b97f4a7c15 // odd, so that different numbers stay different
	out := &Classes{
		world: c.world, hostHashes: maps.Clone(c.hostHashes), ports: slices.Concat(c.ports, other.ports),
		failsafePorts: slices.Concat(c.failsafePorts, other.failsafePorts), rulePorts: slices.Concat(c.rulePorts, other.rulePorts),
	}
	for name, hash := range other.hostHashes {
		out.hostHashes[name] += hash * otherWorldFactor
	}
	out.boundaries = make([]boundary, 0, len(c.boundaries)+len(other.boundaries))
	out.addSorted(c.boundaries, 1)
	out.addSorted(other.boundaries, otherWorldFactor)
	out.sortAndMerge()
	return out
}

// addSorted adds boundaries of classes that are already sorted.
func (c *Classes) addSorted(sorted []boundary, factor uint64) {
	before := uint64(0)
	for _, m := range sorted {
		c.boundaries = append(c.boundaries, boundary{address: m.address, delta: (m.sum - before) * factor})
		before = m.sum
	}
}

// Class is the class of an address, and of the node with the address.
type Class struct {
	sum      uint64
	ipv4     bool
	hostHash uint64
}

// ClassOf returns the class of an address.
func (c *Classes) ClassOf(a netip.Addr) Class {
	i := sort.Search(len(c.boundaries), func(i int) bool { return c.boundaries[i].address.Compare(a) > 0 })
	class := Class{ipv4: a.Is4()}
	if i > 0 {
		class.sum = c.boundaries[i-1].sum
	}
	if h := c.world.owners[a]; h != nil {
		class.hostHash = c.hostHashes[h.Name]
	}
	return class
}

// RepresentativePorts returns the first port of a range, and every later port at which
// the match of a rule changes.
func (c *Classes) RepresentativePorts(first, last uint16) []uint16 {
	return portsWithin(c.ports, first, last)
}

// RepresentativePortsBetween is RepresentativePorts for one sender and one receiver:
// rules for other addresses do not count.
func (c *Classes) RepresentativePortsBetween(from, to netip.Addr, first, last uint16) []uint16 {
	ports := slices.Clone(c.failsafePorts)
	for _, entry := range c.rulePorts {
		if entry.rule.source.containsAddress(entry.world, from) != no && entry.rule.destination.containsAddress(entry.world, to) != no {
			ports = append(ports, entry.ports...)
		}
	}
	slices.Sort(ports)
	return portsWithin(slices.Compact(ports), first, last)
}

// portsWithin returns the first port of a range, and the later ports of a sorted list
// that are in the range.
func portsWithin(ports []uint16, first, last uint16) []uint16 {
	out := []uint16{first}
	i, _ := slices.BinarySearch(ports, first)
	for ; i < len(ports) && ports[i] <= last; i++ {
		if ports[i] > first {
			out = append(out, ports[i])
		}
	}
	return out
}

// IsIPv4 says whether the addresses are IPv4 addresses.
func (c Class) IsIPv4() bool { return c.ipv4 }

// AnyRuleSelects says whether a rule in force has a selector for an object with the
// labels.
func (w *World) AnyRuleSelects(labels map[string]string) bool {
	for _, p := range w.policiesInForce() {
		for direction := range p.applies {
			for i := range p.rulesFor(w, direction) {
				r := &p.rules[direction][i]
				if r.source.members.matchesLabels(labels) || r.destination.members.matchesLabels(labels) {
					return true
				}
			}
		}
	}
	return false
}
