// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"math"
	"net/netip"
	"strings"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"github.com/projectcalico/api/pkg/lib/numorstring"
	"go4.org/netipx"

	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/selector"
)

// answer says whether a match is certain, possible or excluded.
type answer int

const (
	no answer = iota
	maybe
	yes
)

func answerOf(is bool) answer {
	if is {
		return yes
	}
	return no
}

func (a answer) not() answer { return yes - a }

// entity is one side of a rule: the addresses and ports of a source or a destination.
type entity struct {
	nets, notNets networks
	members       *members // nil without selectors
	ports         []numorstring.Port
	notPorts      []numorstring.Port
	// unmodelled names a condition that the model does not know; empty if there is
	// none.
	unmodelled string
}

// networks are the networks of a list, of both IP versions.
type networks struct {
	given      bool // the list has at least one network
	set        *netipx.IPSet
	hasVersion [2]bool // the list has networks of IPv4, of IPv6
}

func networksOf(texts []string) networks {
	var f networks
	var b netipx.IPSetBuilder
	for _, text := range texts {
		net, ok := ParseNet(text)
		if !ok {
			continue
		}
		f.given, f.hasVersion[versionIndex(net.Addr())] = true, true
		b.AddPrefix(net)
	}
	f.set = setOf(&b)
	return f
}

func versionIndex(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

// setOf returns the set of a builder. Only valid addresses are added here, so that the
// builder cannot fail.
func setOf(b *netipx.IPSetBuilder) *netipx.IPSet {
	set, err := b.IPSet()
	if err != nil {
		return &netipx.IPSet{}
	}
	return set
}

// isRenderedFor says whether Felix writes the rule for the IP version at all. Felix
// does not if all excepted networks are of the other version (felix/rules/policy.go,
// filterNets): a rule that excepts only IPv4 networks matches no IPv6 packet.
func (e *entity) isRenderedFor(version int) bool {
	return !e.notNets.given || e.notNets.hasVersion[version]
}

func (w *World) newEntity(e v3.EntityRule) entity {
	out := entity{
		nets: networksOf(e.Nets), notNets: networksOf(e.NotNets),
		members: w.membersOf(e), ports: e.Ports, notPorts: e.NotPorts,
	}
	switch {
	case e.Services != nil:
		out.unmodelled = "the addresses of Service " + e.Services.Namespace + "/" + e.Services.Name
	case e.ServiceAccounts != nil:
		out.unmodelled = "service accounts"
	}
	return out
}

// matchesAddressAndPort says whether an address and a port match. Port 0 means that the
// packet has no port, or that the port is unknown.
func (e *entity) matchesAddressAndPort(w *World, address netip.Addr, port uint16, protocol Protocol) answer {
	result := e.containsAddress(w, address)
	if result == no {
		return no
	}
	result = min(result, portsMatch(e.ports, port, protocol, true))
	result = min(result, portsMatch(e.notPorts, port, protocol, false).not())
	if e.unmodelled != "" {
		result = min(result, maybe)
	}
	return result
}

// containsAddress says whether an address belongs to the entity.
func (e *entity) containsAddress(w *World, address netip.Addr) answer {
	switch {
	case e.nets.given && !e.nets.set.Contains(address), e.notNets.given && e.notNets.set.Contains(address):
		return no
	case e.members != nil:
		return e.members.containsAddress(w, address)
	}
	return yes
}

// portsMatch says whether a port is in a list. An empty list of matching ports (positive)
// contains every port; an empty list of excepted ports contains no port.
func portsMatch(list []numorstring.Port, port uint16, protocol Protocol, positive bool) answer {
	if len(list) == 0 {
		return answerOf(positive)
	}
	if !protocol.hasPorts() {
		return maybe // Calico's API refuses ports of other protocols
	}
	result := no
	for _, p := range list {
		switch {
		case p.PortName != "", port == 0:
			result = max(result, maybe)
		case p.MinPort <= port && port <= p.MaxPort:
			return yes
		}
	}
	return result
}

// portBoundaries returns the ports at which the match of a list begins or ends.
func portBoundaries(list []numorstring.Port) []uint16 {
	var out []uint16
	for _, p := range list {
		if p.PortName != "" {
			continue
		}
		out = append(out, p.MinPort)
		if p.MaxPort < math.MaxUint16 {
			out = append(out, p.MaxPort+1)
		}
	}
	return out
}

// members are the endpoints and the sets of addresses that the selectors of an entity
// select.
type members struct {
	set     *netipx.IPSet
	matches func(labels map[string]string) bool
	// inverted says that the entity is every address except the members' addresses.
	inverted bool
	// unreadable says that a selector cannot be read.
	unreadable bool
	// hostsOnly says that no workload can be a member.
	hostsOnly bool
}

// matchesLabels says whether an object with the labels is a member.
func (m *members) matchesLabels(labels map[string]string) bool {
	return m != nil && (m.unreadable || m.matches(labels))
}

// containsAddress says whether an address belongs to a member. Workloads and their
// labels are unknown.
func (m *members) containsAddress(w *World, address netip.Addr) answer {
	switch {
	case m.unreadable:
		return maybe
	case m.set.Contains(address):
		return answerOf(!m.inverted)
	case !m.hostsOnly && w.workloadAddresses.Contains(address) && w.owners[address] == nil:
		return maybe
	}
	return answerOf(m.inverted)
}

// membersOf evaluates the selectors of an entity as Felix does. With a positive
// selector, Felix removes the excepted endpoints one by one; without a positive
// selector, Felix matches every address except the addresses of the excepted endpoints
// (felix/calc/rule_scanner.go, combineMatchesIfPossible).
func (w *World) membersOf(e v3.EntityRule) *members {
	if e.Selector == "" && e.NotSelector == "" && e.NamespaceSelector == "" {
		return nil
	}
	key := strings.Join([]string{e.Selector, e.NotSelector, e.NamespaceSelector}, "\x00")
	if cached, found := w.members[key]; found {
		return cached
	}
	m := w.evaluateSelectors(e)
	w.members[key] = m
	return m
}

func (w *World) evaluateSelectors(e v3.EntityRule) *members {
	m := &members{}
	read := func(text string) selector.Selector {
		s, err := selector.Parse(text)
		m.unreadable = m.unreadable || err != nil
		return s
	}
	namespaces := strings.ReplaceAll(e.NamespaceSelector, "all()", "has(projectcalico.org/namespace)")
	namespaces = strings.ReplaceAll(namespaces, "global()", "!has(projectcalico.org/namespace)")
	wanted, unwanted, within := read(e.Selector), read(e.NotSelector), read(namespaces)
	if m.unreadable {
		return m
	}
	m.inverted = e.Selector == "" && e.NamespaceSelector == ""
	m.hostsOnly = strings.TrimSpace(e.NamespaceSelector) == "global()"
	m.matches = func(labels map[string]string) bool {
		if m.inverted {
			return unwanted(labels)
		}
		return within(nil) && wanted(labels) && (e.NotSelector == "" || !unwanted(labels))
	}
	var b netipx.IPSetBuilder
	for i := range w.selectables {
		if t := &w.selectables[i]; m.matches(t.labels) {
			for _, net := range t.nets {
				b.AddPrefix(net)
			}
		}
	}
	m.set = setOf(&b)
	return m
}

// selectable is an object that selectors of rules can select: an endpoint or a set of
// addresses.
type selectable struct {
	labels map[string]string
	nets   []netip.Prefix
}

func selectableOf(labels map[string]string, addresses []string) selectable {
	t := selectable{labels: labels}
	for _, text := range addresses {
		if net, ok := ParseNet(text); ok {
			t.nets = append(t.nets, net)
		}
	}
	return t
}
