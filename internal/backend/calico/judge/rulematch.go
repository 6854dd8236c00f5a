// SPDX-License-Identifier: Apache-2.0

package judge

import (
	"net/netip"
	"slices"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"github.com/projectcalico/api/pkg/lib/numorstring"
	"go4.org/netipx"

	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/dataplane"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
)

// restrictedTarget is restricted traffic: to a port of a component, or, with
// DenyUnlisted, all traffic.
type restrictedTarget struct {
	allowed string // name of the traffic in a finding about an allowing rule
	denied  string // name of the traffic in a finding about a denying rule
	traffic profile.Traffic
	iface   string       // of the component, if restricted to an interface
	address netip.Prefix // the only restricted destination; zero for any
}

// ruleMatch is the part of a target matched by a rule.
type ruleMatch struct {
	traffic profile.Traffic
	sources *netipx.IPSet
	// whole says that the rule matches all of the target.
	whole bool
	// uncertain says that the rule has conditions that are not judged here, so that the
	// rule may match less.
	uncertain bool
}

// matchRule returns the parts of the target matched by a rule of an ingress policy.
// nodeAddresses are the known addresses of nodes.
func matchRule(rule v3.Rule, t restrictedTarget, nodeAddresses *netipx.IPSet) []ruleMatch {
	sources, everybody := addressesOfEntity(rule.Source, rule.IPVersion)
	destinations, everywhere := addressesOfEntity(rule.Destination, nil)
	to := compareDestinations(destinations, everywhere, t, nodeAddresses)
	if sources == nil || to.none || excludesTraffic(rule, t.traffic) {
		return nil
	}
	base := ruleMatch{sources: sources, uncertain: to.uncertain || hasUnjudgedConditions(rule)}
	whole := everybody && to.whole && !base.uncertain && !matchesPartially(rule)
	var out []ruleMatch
	for _, traffic := range trafficOf(rule) {
		if both, overlap := traffic.Intersect(t.traffic); overlap {
			m := base
			m.traffic, m.whole = both, whole && both == t.traffic.WithLastPort()
			out = append(out, m)
		}
	}
	return out
}

// matchesPartially says whether conditions of the rule limit the match to a part of the
// traffic.
func matchesPartially(rule v3.Rule) bool {
	return len(rule.Source.Ports)+len(rule.Source.NotPorts)+len(rule.Destination.NotPorts) > 0 ||
		rule.NotProtocol != nil || rule.NotICMP != nil
}

// hasUnjudgedConditions says whether the rule has conditions on objects that are not
// looked up here: endpoints, network sets, service accounts, Services, HTTP.
func hasUnjudgedConditions(rule v3.Rule) bool {
	of := func(e v3.EntityRule) bool {
		named := func(p numorstring.Port) bool { return p.PortName != "" }
		return e.Selector != "" || e.NotSelector != "" || e.NamespaceSelector != "" || e.ServiceAccounts != nil || e.Services != nil ||
			slices.ContainsFunc(e.Ports, named) || slices.ContainsFunc(e.NotPorts, named)
	}
	return of(rule.Source) || of(rule.Destination) || rule.HTTP != nil
}

// addressesOfEntity returns the addresses of an entity according to its networks; nil
// if there are none. whole says that the set has every address.
func addressesOfEntity(e v3.EntityRule, version *int) (set *netipx.IPSet, whole bool) {
	var b netipx.IPSetBuilder
	families := []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)}
	if len(e.Nets) == 0 {
		b.AddPrefix(families[0])
		b.AddPrefix(families[1])
	}
	for _, text := range e.Nets {
		if prefix, ok := dataplane.ParseNet(text); ok {
			b.AddPrefix(prefix)
		}
	}
	for _, text := range e.NotNets {
		if prefix, ok := dataplane.ParseNet(text); ok {
			b.RemovePrefix(prefix)
		}
	}
	switch {
	case version == nil:
	case *version == 4:
		b.RemovePrefix(families[1])
	default:
		b.RemovePrefix(families[0])
	}
	set, err := b.IPSet()
	if err != nil || len(set.Ranges()) == 0 {
		return nil, false
	}
	return set, isEverybody(set)
}

// destinationMatch says how the destinations of a rule match the destinations of a
// target.
type destinationMatch struct{ none, whole, uncertain bool }

// compareDestinations compares destinations with the component's address, or with the
// addresses of the nodes. Nodes have addresses unknown to Kubernetes: for a rule with
// other destinations, a match is uncertain.
func compareDestinations(destinations *netipx.IPSet, everywhere bool, t restrictedTarget, nodeAddresses *netipx.IPSet) destinationMatch {
	switch {
	case destinations == nil:
		return destinationMatch{none: true}
	case everywhere:
		return destinationMatch{whole: true}
	case t.address.IsValid():
		return destinationMatch{none: !destinations.OverlapsPrefix(t.address), whole: destinations.ContainsPrefix(t.address)}
	}
	return destinationMatch{uncertain: !destinations.Overlaps(nodeAddresses)}
}

// excludesTraffic says whether the rule excludes the traffic by protocol or ports.
func excludesTraffic(rule v3.Rule, traffic profile.Traffic) bool {
	if rule.NotProtocol != nil && protocolOf(*rule.NotProtocol).Covers(traffic) {
		return true
	}
	return rule.Protocol != nil && slices.ContainsFunc(rule.Destination.NotPorts, func(p numorstring.Port) bool {
		return p.PortName == "" && portOf(*rule.Protocol, p).Covers(traffic)
	})
}

// trafficOf returns the traffic of a rule: the protocol, and the ports if there are
// any. A named port may be any port.
func trafficOf(rule v3.Rule) []profile.Traffic {
	if rule.Protocol == nil {
		return []profile.Traffic{{}}
	}
	if len(rule.Destination.Ports) == 0 {
		return []profile.Traffic{protocolOf(*rule.Protocol)}
	}
	var out []profile.Traffic
	for _, port := range rule.Destination.Ports {
		out = append(out, portOf(*rule.Protocol, port))
	}
	return out
}

func portOf(protocol numorstring.Protocol, port numorstring.Port) profile.Traffic {
	traffic := protocolOf(protocol)
	if port.PortName == "" {
		traffic.First, traffic.Last = port.MinPort, port.MaxPort
	}
	return traffic
}

// protocolOf returns all traffic of a protocol. A protocol without ports is given by
// number; no port of a component has such a protocol.
func protocolOf(protocol numorstring.Protocol) profile.Traffic {
	switch protocol.ToV1().String() {
	case "tcp", "6":
		return profile.Traffic{Protocol: profile.TCP}
	case "udp", "17":
		return profile.Traffic{Protocol: profile.UDP}
	case "sctp", "132":
		return profile.Traffic{Protocol: profile.SCTP}
	}
	number, _ := protocol.NumValue() // 0 for an unknown name: no packet has protocol 0
	return profile.Traffic{Protocol: profile.IP, Number: number}
}
