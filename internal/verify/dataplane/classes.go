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
	world         *World
	boundaries    []boundary // sorted by address
	ports         []uint16   // all that are in ranges too
	failsafePorts []uint16   // those of failsafe ports
	rulePorts     []rulePorts
	hostHashes    map[string]uint64 // of nodes that have endpoints
}

// ranges are the ports at which a rule begins or ends to match.
type rulePorts struct {
	world *World
	rule  *rule
	ports []uint16
}

// mark is where the class of addresses changes. From there on it is sum.
type boundary struct {
	address    netip.Addr
	delta, sum uint64
}

// Classes returns those of the policies that select an endpoint of a known node.
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

// inForce returns the policies that select an endpoint of a node.
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

// host gives the addresses of a node that has endpoints, or that are among those
// of workloads, a class of their own.
func (c *Classes) addHost(h *host) {
	key := uint64(0)
	if len(h.endpoints) > 0 {
		key = hashOf(c.describeHost(h))
		c.hostHashes[h.Name] = key
	}
	for _, address := range h.allAddresses() {
		switch {
		case key != 0:
			c.addAddress(address, key)
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

// describe returns what is the same for hosts that no flow can tell apart.
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

// number is as good as random, and the same for the same.
func hashOf(value any) uint64 {
	h := fnv.New64a()
	_, _ = fmt.Fprint(h, value) // never fails
	// What FNV does with the last bytes is too regular to be added up.
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
		end = netip.IPv6Unspecified() // the first address after those of IPv4
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

// And returns classes that tell apart what either of two worlds of the same nodes
// can tell apart.
func (c *Classes) CombineWith(other *Classes) *Classes {
	// The same number means something else in the other world: what changes
	// places with another from one to the other is not the same as it.
	const otherWorldFactor = 0x9e3779b97f4a7c15 // odd, so that different numbers stay so
	out := &Classes{
		world: c.world, hostHashes: maps.Clone(c.hostHashes), ports: slices.Concat(c.ports, other.ports),
		failsafePorts: slices.Concat(c.failsafePorts, other.failsafePorts), rulePorts: slices.Concat(c.rulePorts, other.rulePorts),
	}
	for name, key := range other.hostHashes {
		out.hostHashes[name] += key * otherWorldFactor
	}
	out.boundaries = make([]boundary, 0, len(c.boundaries)+len(other.boundaries))
	out.addSorted(c.boundaries, 1)
	out.addSorted(other.boundaries, otherWorldFactor)
	out.sortAndMerge()
	return out
}

// take adds marks that were sorted before.
func (c *Classes) addSorted(marks []boundary, factor uint64) {
	before := uint64(0)
	for _, m := range marks {
		c.boundaries = append(c.boundaries, boundary{address: m.address, delta: (m.sum - before) * factor})
		before = m.sum
	}
}

// Class is what addresses, and nodes that have them, have in common.
type Class struct {
	sum      uint64
	ipv4     bool
	hostHash uint64
}

// Of returns the class of an address.
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

// Ports returns ports of a range, such that between them no rule tells two
// apart.
func (c *Classes) RepresentativePorts(first, last uint16) []uint16 {
	return portsWithin(c.ports, first, last)
}

// PortsBetween is Ports for what one address sends to another: rules that are not
// for these tell nothing apart.
func (c *Classes) RepresentativePortsBetween(from, to netip.Addr, first, last uint16) []uint16 {
	ports := slices.Clone(c.failsafePorts)
	for _, rule := range c.rulePorts {
		if rule.rule.source.containsAddress(rule.world, from) != no && rule.rule.destination.containsAddress(rule.world, to) != no {
			ports = append(ports, rule.ports...)
		}
	}
	slices.Sort(ports)
	return portsWithin(slices.Compact(ports), first, last)
}

// within returns the first port of a range, and those of a sorted list that follow
// in it.
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

// IPv4 says whether the addresses are of IPv4.
func (c Class) IPv4() bool { return c.ipv4 }

// Selects says whether a rule that is in force has a selector for what has these
// labels.
func (w *World) AnyRuleSelects(labels map[string]string) bool {
	for _, p := range w.policiesInForce() {
		for direction := range p.applies {
			for i := range p.rulesFor(w, direction) {
				r := &p.rules[direction][i]
				if r.source.members.matchLabels(labels) || r.destination.members.matchLabels(labels) {
					return true
				}
			}
		}
	}
	return false
}
