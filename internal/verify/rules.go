// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"net/netip"
	"slices"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"github.com/projectcalico/api/pkg/lib/numorstring"
	"go4.org/netipx"

	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/internal/verify/dataplane"
)

// target is traffic that is restricted: to one of a component's ports, or, where
// all that is not listed is denied, everything.
type restrictedTarget struct {
	allowed string // what it is for a rule that allows it
	denied  string // and for one that denies it
	traffic profile.Traffic
	iface   string       // of the component, if it is restricted to one
	address netip.Prefix // to which alone it is restricted, if it is so
}

// match is what a rule matches of a target.
type ruleMatch struct {
	traffic profile.Traffic
	sources *netipx.IPSet
	// whole says that it is all of the target.
	whole bool
	// unsure says that the rule has conditions that are not judged here, so
	// that it may match less.
	uncertain bool
}

// matching returns what a rule of an ingress policy matches of the target. The
// own addresses are those that the nodes are known to have.
func matchRule(rule v3.Rule, t restrictedTarget, own *netipx.IPSet) []ruleMatch {
	sources, everybody := addressesOfEntity(rule.Source, rule.IPVersion)
	destinations, everywhere := addressesOfEntity(rule.Destination, nil)
	to := compareDestinations(destinations, everywhere, t, own)
	if sources == nil || to.none || excludesTraffic(rule, t.traffic) {
		return nil
	}
	base := ruleMatch{sources: sources, uncertain: to.uncertain || hasUnjudgedConditions(rule)}
	whole := everybody && to.whole && !base.uncertain && !matchesPartially(rule)
	var out []ruleMatch
	for _, traffic := range trafficOf(rule) {
		if both, overlap := traffic.Intersect(t.traffic); overlap {
			m := base
			m.traffic, m.whole = both, whole && both == t.traffic.Normal()
			out = append(out, m)
		}
	}
	return out
}

// partial says whether the rule has conditions that make it match a part only
// of the traffic that it is about.
func matchesPartially(rule v3.Rule) bool {
	return len(rule.Source.Ports)+len(rule.Source.NotPorts)+len(rule.Destination.NotPorts) > 0 ||
		rule.NotProtocol != nil || rule.NotICMP != nil
}

// unjudged says whether the rule has conditions that depend on what is not
// looked up here: endpoints, network sets, service accounts, Services, HTTP.
func hasUnjudgedConditions(rule v3.Rule) bool {
	of := func(e v3.EntityRule) bool {
		named := func(p numorstring.Port) bool { return p.PortName != "" }
		return e.Selector != "" || e.NotSelector != "" || e.NamespaceSelector != "" || e.ServiceAccounts != nil || e.Services != nil ||
			slices.ContainsFunc(e.Ports, named) || slices.ContainsFunc(e.NotPorts, named)
	}
	return of(rule.Source) || of(rule.Destination) || rule.HTTP != nil
}

// networks returns the addresses that an entity of a rule stands for, as far as
// its networks say; nil if none, and whole if every address.
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

// reach is how the destinations of a rule meet those of a target.
type destinationMatch struct{ none, whole, uncertain bool }

// addressed compares destinations to the component's address, or to the
// addresses of the nodes. Nodes have addresses that Kubernetes does not know:
// whether a rule for others is about a node can not be told.
func compareDestinations(destinations *netipx.IPSet, everywhere bool, t restrictedTarget, own *netipx.IPSet) destinationMatch {
	switch {
	case destinations == nil:
		return destinationMatch{none: true}
	case everywhere:
		return destinationMatch{whole: true}
	case t.address.IsValid():
		return destinationMatch{none: !destinations.OverlapsPrefix(t.address), whole: destinations.ContainsPrefix(t.address)}
	}
	return destinationMatch{uncertain: !destinations.Overlaps(own)}
}

// except says whether the rule takes the traffic out by its protocol or ports.
func excludesTraffic(rule v3.Rule, traffic profile.Traffic) bool {
	if rule.NotProtocol != nil && protocolOf(*rule.NotProtocol).Covers(traffic) {
		return true
	}
	return rule.Protocol != nil && slices.ContainsFunc(rule.Destination.NotPorts, func(p numorstring.Port) bool {
		return p.PortName == "" && portOf(*rule.Protocol, p).Covers(traffic)
	})
}

// trafficOf returns the traffic that a rule is about: its protocol, and the
// ports if it has some. Named ports may be any.
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

// protocolOf returns all traffic of a protocol. Those that have no ports are
// told by their number: no component's port is of them.
func protocolOf(protocol numorstring.Protocol) profile.Traffic {
	switch protocol.ToV1().String() {
	case "tcp", "6":
		return profile.Traffic{Protocol: profile.TCP}
	case "udp", "17":
		return profile.Traffic{Protocol: profile.UDP}
	case "sctp", "132":
		return profile.Traffic{Protocol: profile.SCTP}
	}
	number, _ := protocol.NumValue() // 0, which nothing is of, where it has another name
	return profile.Traffic{Protocol: profile.IP, Number: number}
}
