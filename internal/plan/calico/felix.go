// SPDX-License-Identifier: Apache-2.0

package calico

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"go4.org/netipx"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/internal/profile"
)

// DefaultFailsafes are the inbound failsafe ports of Felix if no others are configured
// (felix/config/config_params.go, FailsafeInboundHostPorts): open from everywhere,
// whatever a policy says.
var DefaultFailsafes = []v3.ProtoPort{
	{Protocol: "tcp", Port: 22},
	{Protocol: "udp", Port: 68},
	{Protocol: "tcp", Port: 179},
	{Protocol: "tcp", Port: 2379},
	{Protocol: "tcp", Port: 2380},
	{Protocol: "tcp", Port: 5473},
	{Protocol: "tcp", Port: 6443},
	{Protocol: "tcp", Port: 6666},
	{Protocol: "tcp", Port: 6667},
}

// felixConfigurations returns a Felix configuration for every enforced node: the
// failsafe ports, of which the ports of components are scoped to the sources of the
// components. The configurations are part of a ruleset and have its label.
func felixConfigurations(hosts Hosts) []*v3.FelixConfiguration {
	if !hosts.ScopeFailsafes {
		return nil
	}
	failsafes, scoped := ScopedFailsafes(hosts)
	if !scoped {
		return nil
	}
	labels := policyLabels(hosts.Policy)
	labels[LabelVersion] = RulesetVersion(hosts)
	var out []*v3.FelixConfiguration
	for _, node := range hosts.Nodes {
		if !node.Enforced || node.Older != "" || node.Foreign || node.KeepFailsafes {
			continue
		}
		ports := slices.Clone(failsafes)
		out = append(out, &v3.FelixConfiguration{
			TypeMeta:   metav1.TypeMeta{APIVersion: v3.GroupVersionCurrent, Kind: v3.KindFelixConfiguration},
			ObjectMeta: metav1.ObjectMeta{Name: FelixConfigurationName(node.Name), Labels: maps.Clone(labels)},
			Spec:       v3.FelixConfigurationSpec{FailsafeInboundHostPorts: &ports},
		})
	}
	return out
}

// ScopedFailsafes returns all failsafe ports, with the ports of components scoped to
// the permitted sources, and whether any port is scoped. A port that anybody may use
// stays open.
func ScopedFailsafes(hosts Hosts) (failsafes []v3.ProtoPort, scoped bool) {
	before := hosts.Failsafes
	if before == nil {
		before = DefaultFailsafes
	}
	for _, failsafe := range before {
		sources, bounded := failsafeSources(hosts, failsafe)
		if !bounded || failsafe.Net != "" {
			failsafes = append(failsafes, failsafe)
			continue
		}
		for _, prefix := range sources {
			failsafes = append(failsafes, v3.ProtoPort{Protocol: failsafe.Protocol, Port: failsafe.Port, Net: prefix.String()})
		}
	}
	scoped = !slices.EqualFunc(failsafes, before, func(a, b v3.ProtoPort) bool { return a == b })
	return failsafes, scoped
}

// failsafeSources returns the networks to which a failsafe port is scoped: the
// permitted sources, except for sources that grow with the cluster. Felix makes a rule
// for each network, and restarts when the networks change. All other sources are let in
// by the policies, which look up addresses in a set. A port stays open if no component
// has the port, or if anybody may use the port.
func failsafeSources(hosts Hosts, failsafe v3.ProtoPort) (sources []netip.Prefix, scoped bool) {
	port := FailsafeTraffic(failsafe)
	covered := func(t profile.Traffic) bool { return t.Covers(port) }
	if !slices.ContainsFunc(hosts.Components, func(c Component) bool { return slices.ContainsFunc(c.Ports, covered) }) {
		return nil, false
	}
	hosts.Sets = nil
	set, bounded := hosts.PermittedSources(hosts.Required, covered)
	if !bounded {
		return nil, false
	}
	return set.Prefixes(), true
}

// FailsafeTraffic returns the traffic that a failsafe port lets in.
func FailsafeTraffic(port v3.ProtoPort) profile.Traffic {
	return profile.Traffic{Protocol: profile.Protocol(strings.ToUpper(port.Protocol)), First: port.Port, Last: port.Port}
}

// PermittedSources returns the addresses that may send matching traffic: the sources of
// components and flows with such traffic, and the nodes. If anybody may send the
// traffic, the result is not bounded.
func (h Hosts) PermittedSources(flows []Flow, matches func(profile.Traffic) bool) (set *netipx.IPSet, bounded bool) {
	all, bounded := h.collectSources(flows, matches)
	for _, node := range h.Nodes {
		for _, address := range node.Addresses {
			all.Add(address)
		}
	}
	set, err := all.IPSet()
	return set, bounded && err == nil // without a set, the failsafe port stays open, because a wrong scope would cut traffic
}

// SourcesWithoutNodes returns what PermittedSources returns, without the nodes: each
// node may send only to itself.
func (h Hosts) SourcesWithoutNodes(flows []Flow, matches func(profile.Traffic) bool) (set *netipx.IPSet, bounded bool) {
	all, bounded := h.collectSources(flows, matches)
	set, err := all.IPSet()
	return set, bounded && err == nil
}

func (h Hosts) collectSources(flows []Flow, matches func(profile.Traffic) bool) (all *netipx.IPSetBuilder, bounded bool) {
	all, bounded = &netipx.IPSetBuilder{}, true
	for _, component := range h.Components {
		if slices.ContainsFunc(component.Ports, matches) {
			bounded = h.addSources(all, component.From) && bounded
		}
	}
	for _, flow := range flows {
		if slices.ContainsFunc(flow.Traffic, matches) {
			bounded = h.addSources(all, flow.From) && bounded
		}
	}
	return all, bounded
}

// addSources adds the networks of the sources to the set, and says whether all sources
// are bounded.
func (h Hosts) addSources(set *netipx.IPSetBuilder, sources []Source) bool {
	for _, source := range sources {
		if source.Set == "" && len(source.Prefixes) == 0 {
			return false
		}
		for _, prefix := range source.Prefixes {
			set.AddPrefix(prefix)
		}
		for _, named := range h.Sets {
			if named.Name != source.Set {
				continue
			}
			for _, prefixes := range named.Members {
				for _, prefix := range prefixes {
					set.AddPrefix(prefix)
				}
			}
		}
	}
	return true
}
