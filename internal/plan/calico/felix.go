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

// DefaultFailsafes are the inbound failsafe ports of Felix when nothing else is
// configured (felix/config/config_params.go, FailsafeInboundHostPorts): open
// from everywhere, whatever a policy says.
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

// felixConfigurations returns, for every enforced node, its failsafe ports
// with those of components narrowed to the components' sources. They are part of a
// version of the rules, and bear its label.
func felixConfigurations(hosts Hosts) []*v3.FelixConfiguration {
	if !hosts.ScopeFailsafes {
		return nil
	}
	failsafes, narrowed := Scoped(hosts)
	if !narrowed {
		return nil
	}
	labels := labels(hosts.Policy)
	labels[LabelVersion] = Version(hosts)
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

// Scoped returns the failsafe ports, those of components narrowed to who may
// connect to them, and whether any is narrowed. A port that anybody may use
// stays as it is.
func Scoped(hosts Hosts) (failsafes []v3.ProtoPort, narrowed bool) {
	before := hosts.Failsafes
	if before == nil {
		before = DefaultFailsafes
	}
	for _, failsafe := range before {
		sources, bounded := sourcesOf(hosts, failsafe)
		if !bounded || failsafe.Net != "" {
			failsafes = append(failsafes, failsafe)
			continue
		}
		for _, prefix := range sources {
			failsafes = append(failsafes, v3.ProtoPort{Protocol: failsafe.Protocol, Port: failsafe.Port, Net: prefix.String()})
		}
	}
	narrowed = !slices.EqualFunc(failsafes, before, func(a, b v3.ProtoPort) bool { return a == b })
	return failsafes, narrowed
}

// sourcesOf returns what a failsafe port is narrowed to: who may use it, as far as
// that does not grow with the cluster. Each network is a rule of its own, and a
// Felix starts again when they change; all others are let in by the policies,
// which look them up in a set. The port is not narrowed where it is no
// component's, or where anybody may use it.
func sourcesOf(hosts Hosts, failsafe v3.ProtoPort) (sources []netip.Prefix, narrowed bool) {
	port := FailsafeTraffic(failsafe)
	covered := func(t profile.Traffic) bool { return t.Covers(port) }
	if !slices.ContainsFunc(hosts.Components, func(c Component) bool { return slices.ContainsFunc(c.Ports, covered) }) {
		return nil, false
	}
	hosts.Sets = nil
	set, bounded := hosts.Permitted(hosts.Required, covered)
	if !bounded {
		return nil, false
	}
	return set.Prefixes(), true
}

// FailsafeTraffic returns what a failsafe port lets in.
func FailsafeTraffic(port v3.ProtoPort) profile.Traffic {
	return profile.Traffic{Protocol: profile.Protocol(strings.ToUpper(port.Protocol)), First: port.Port, Last: port.Port}
}

// Permitted returns who may send traffic: the sources of the components and of
// the flows that have some that matches, and the nodes themselves. It is not
// bounded if that is anybody.
func (h Hosts) Permitted(flows []Flow, matches func(profile.Traffic) bool) (set *netipx.IPSet, bounded bool) {
	all, bounded := h.sources(flows, matches)
	for _, node := range h.Nodes {
		for _, address := range node.Addresses {
			all.Add(address)
		}
	}
	set, err := all.IPSet()
	return set, bounded && err == nil // no set: leave a failsafe wide rather than narrow it wrongly
}

// Sources is Permitted without the nodes, of which each may send to itself only.
func (h Hosts) Sources(flows []Flow, matches func(profile.Traffic) bool) (set *netipx.IPSet, bounded bool) {
	all, bounded := h.sources(flows, matches)
	set, err := all.IPSet()
	return set, bounded && err == nil
}

func (h Hosts) sources(flows []Flow, matches func(profile.Traffic) bool) (all *netipx.IPSetBuilder, bounded bool) {
	all, bounded = &netipx.IPSetBuilder{}, true
	for _, component := range h.Components {
		if slices.ContainsFunc(component.Ports, matches) {
			bounded = h.addTo(all, component.From) && bounded
		}
	}
	for _, flow := range flows {
		if slices.ContainsFunc(flow.Traffic, matches) {
			bounded = h.addTo(all, flow.From) && bounded
		}
	}
	return all, bounded
}

// addTo adds the sources' networks, and says whether they are bounded.
func (h Hosts) addTo(set *netipx.IPSetBuilder, sources []Source) bool {
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
