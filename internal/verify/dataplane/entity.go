// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"math"
	"net/netip"
	"strings"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"github.com/projectcalico/api/pkg/lib/numorstring"
	"go4.org/netipx"

	"github.com/cpnp-dev/cpnp-operator/internal/plan/calico/selector"
)

// answer says whether something matches, as far as that can be told.
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

// entity is one side of a rule: the addresses and ports of a source or a
// destination.
type entity struct {
	nets, notNets networks
	members       *members // nil without selectors
	ports         []numorstring.Port
	notPorts      []numorstring.Port
	// beyond names a condition that is not modelled; empty if there is none.
	unmodelled string
}

// families are networks, of each IP version.
type networks struct {
	given      bool // there are some, of whichever version
	set        *netipx.IPSet
	hasVersion [2]bool // there are some of IPv4, of IPv6
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

// setOf returns the set: nothing that is added to one here is invalid.
func setOf(b *netipx.IPSetBuilder) *netipx.IPSet {
	set, err := b.IPSet()
	if err != nil {
		return &netipx.IPSet{}
	}
	return set
}

// rendered says whether Felix writes the rule for the IP version at all: not if
// all networks that are excepted are of the other version (felix/rules/policy.go,
// filterNets). So a rule that excepts IPv4 networks alone matches no IPv6.
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

// matches says whether an address and a port match; without a port, there is
// none, or it is not known.
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

// holds says whether an address is one of the entity's.
func (e *entity) containsAddress(w *World, address netip.Addr) answer {
	switch {
	case e.nets.given && !e.nets.set.Contains(address), e.notNets.given && e.notNets.set.Contains(address):
		return no
	case e.members != nil:
		return e.members.containAddress(w, address)
	}
	return yes
}

// portsMatch says whether a port is one of a list. An empty list has every port
// where it is what to match, and none where it is what to except.
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

// bounds returns the ports at which a list begins or ends to match.
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

// members are whom the selectors of an entity stand for: endpoints and sets of
// addresses.
type members struct {
	set     *netipx.IPSet
	matches func(labels map[string]string) bool
	// except says that the entity is everybody else.
	inverted bool
	// unread says that a selector can not be read.
	unreadable bool
	// hosts says that no workload can be a member.
	hostsOnly bool
}

// selects says whether what has the labels is a member.
func (m *members) matchLabels(labels map[string]string) bool {
	return m != nil && (m.unreadable || m.matches(labels))
}

// contain says whether an address is a member's. What workloads there are, and
// what their labels are, is not known.
func (m *members) containAddress(w *World, address netip.Addr) answer {
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

// membersOf evaluates the selectors of an entity, as Felix does: with a positive
// one, what is excepted is taken out endpoint by endpoint; without, it is the
// addresses of what is excepted that do not match (felix/calc/rule_scanner.go,
// combineMatchesIfPossible).
func (w *World) membersOf(e v3.EntityRule) *members {
	if e.Selector == "" && e.NotSelector == "" && e.NamespaceSelector == "" {
		return nil
	}
	key := strings.Join([]string{e.Selector, e.NotSelector, e.NamespaceSelector}, "\x00")
	if known, found := w.members[key]; found {
		return known
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

// thing is an endpoint or a set: what selectors of rules select.
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
