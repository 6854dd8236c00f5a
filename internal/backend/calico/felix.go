// SPDX-License-Identifier: Apache-2.0

package calico

import (
	"maps"
	"net/netip"
	"slices"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/internal/backend"
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

// felixConfigurations returns a Felix configuration for every node with scoped failsafe
// ports of the current version: the failsafe ports, with ports of components scoped to the
// sources of the components. The configurations are part of a ruleset and have the
// ruleset's label.
func felixConfigurations(hosts backend.Hosts) []*v3.FelixConfiguration {
	failsafes, _ := ScopedFailsafes(hosts)
	labels := policyLabels(hosts.Policy)
	labels[LabelVersion] = hosts.Version
	var out []*v3.FelixConfiguration
	for _, node := range hosts.Nodes {
		if !node.Ruleset.FailsafesScoped || hosts.HasOlderRules(node) {
			continue
		}
		ports := protoPorts(failsafes)
		out = append(out, &v3.FelixConfiguration{
			TypeMeta:   metav1.TypeMeta{APIVersion: v3.GroupVersionCurrent, Kind: v3.KindFelixConfiguration},
			ObjectMeta: metav1.ObjectMeta{Name: FelixConfigurationName(node.Name), Labels: maps.Clone(labels)},
			Spec:       v3.FelixConfigurationSpec{FailsafeInboundHostPorts: &ports},
		})
	}
	return out
}

// FailsafesInForce returns the failsafe ports before any scoping.
func FailsafesInForce(hosts backend.Hosts) []backend.Failsafe {
	if hosts.Failsafes == nil {
		return failsafesOf(DefaultFailsafes)
	}
	return hosts.Failsafes
}

func failsafesOf(ports []v3.ProtoPort) []backend.Failsafe {
	failsafes := make([]backend.Failsafe, 0, len(ports))
	for _, port := range ports {
		failsafes = append(failsafes, backend.Failsafe(port))
	}
	return failsafes
}

func protoPorts(failsafes []backend.Failsafe) []v3.ProtoPort {
	ports := make([]v3.ProtoPort, 0, len(failsafes))
	for _, failsafe := range failsafes {
		ports = append(ports, v3.ProtoPort(failsafe))
	}
	return ports
}

// ScopedFailsafes returns all failsafe ports, with the ports of components scoped to the
// permitted sources, and whether any port is scoped. A port with unlimited sources stays
// open.
func ScopedFailsafes(hosts backend.Hosts) (failsafes []backend.Failsafe, scoped bool) {
	before := FailsafesInForce(hosts)
	for _, failsafe := range before {
		sources, bounded := failsafeSources(hosts, failsafe)
		if !bounded || failsafe.Net != "" {
			failsafes = append(failsafes, failsafe)
			continue
		}
		for _, prefix := range sources {
			failsafes = append(failsafes, backend.Failsafe{Protocol: failsafe.Protocol, Port: failsafe.Port, Net: prefix.String()})
		}
	}
	scoped = !slices.Equal(failsafes, before)
	return failsafes, scoped
}

// failsafeSources returns the networks to which a failsafe port is scoped: the permitted
// sources, except for sources that grow with the cluster. Felix makes a rule for each
// network, and restarts when the networks change. Policies let in all other sources, by
// addresses in a set. A port stays open if no component has the port, or if the sources are
// unlimited.
func failsafeSources(hosts backend.Hosts, failsafe backend.Failsafe) (sources []netip.Prefix, scoped bool) {
	port := failsafe.Traffic()
	covered := func(t profile.Traffic) bool { return t.Covers(port) }
	if !slices.ContainsFunc(hosts.Components, func(c backend.Component) bool { return slices.ContainsFunc(c.Ports, covered) }) {
		return nil, false
	}
	hosts.Sets = nil
	set, bounded := hosts.PermittedSources(hosts.Required, covered)
	if !bounded {
		return nil, false
	}
	return set.Prefixes(), true
}
