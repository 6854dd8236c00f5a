// SPDX-License-Identifier: Apache-2.0

package judge

import (
	"fmt"
	"net/netip"
	"slices"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"go4.org/netipx"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/dataplane"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/internal/verify"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// openFailsafes is the restricted traffic that failsafe ports leave open. Every list is
// in the order of discovery, without duplicates.
type openFailsafes struct {
	ports        []string // "tcp/2379 (component etcd)"
	nodes        []string
	from         []string
	causes       []string // names of FelixConfigurations; empty if Felix's defaults are the cause
	causedByNode bool     // a cause is the configuration of a single node

	sourcesOf map[v3.ProtoPort]string // from where a port is open
}

// findOpenFailsafes finds failsafe ports of Felix that are ports of a restricted
// component and open to more sources than the policy allows: no policy applies to
// failsafe ports.
//
// A failsafe port of no component does not void the restrictions, even with
// DenyUnlisted: such a port, for example SSH, is the documented way back into a node
// that a policy has cut off.
func findOpenFailsafes(hosts plan.Hosts, live calico.Live) *verify.Verdict {
	o := openFailsafes{sourcesOf: map[v3.ProtoPort]string{}}
	for _, node := range hosts.Now.Nodes {
		list, cause := dataplane.FelixSetting(node.Name, live.Felix,
			func(s *v3.FelixConfigurationSpec) *[]v3.ProtoPort { return s.FailsafeInboundHostPorts })
		if list == nil {
			list = &calico.DefaultFailsafes
		}
		for _, port := range *list {
			o.addPort(hosts.Now, node.Name, port, cause)
		}
	}
	if len(o.ports) == 0 {
		return nil
	}
	return &verify.Verdict{
		Reason: v1alpha1.ReasonFailsafePorts,
		Message: fmt.Sprintf("Failsafe ports of Felix (%s) leave %s open from %s on %s, whatever a policy says: %s",
			o.describeCauses(), wording.ListNames(o.ports), wording.ListNames(o.from), wording.ListNames(o.nodes), o.remedyFor(hosts.Now)),
	}
}

// addPort adds a failsafe port if the port belongs to a component and is open to more
// sources than the policy allows.
func (o *openFailsafes) addPort(hosts backend.Hosts, node string, port v3.ProtoPort, cause string) {
	traffic := backend.Failsafe(port).Traffic()
	covered := func(t profile.Traffic) bool { return t.Covers(traffic) }
	var components []string
	for _, component := range hosts.Components {
		if slices.ContainsFunc(component.Ports, covered) {
			components = append(components, component.Name)
		}
	}
	if len(components) == 0 {
		return
	}
	from, known := o.sourcesOf[port]
	if !known {
		from = openSourcesOf(hosts, port, covered)
		o.sourcesOf[port] = from
	}
	if from == "" {
		return
	}
	for _, component := range components {
		o.ports = wording.AppendUnique(o.ports, fmt.Sprintf("%s (component %s)", traffic, component))
	}
	o.nodes = wording.AppendUnique(o.nodes, node)
	o.from = wording.AppendUnique(o.from, from)
	if cause != "" {
		o.causes = wording.AppendUnique(o.causes, cause)
	}
	o.causedByNode = o.causedByNode || cause == calico.FelixConfigurationName(node)
}

// openSourcesOf returns the sources to which a failsafe port is open; empty if the
// policy allows all these sources.
func openSourcesOf(hosts backend.Hosts, port v3.ProtoPort, matches func(profile.Traffic) bool) string {
	permitted, bounded := hosts.PermittedSources(slices.Concat(hosts.Required, hosts.Listed), matches)
	// A failsafe port without a network, or with an unreadable network, is open from
	// everywhere.
	net, ok := dataplane.ParseNet(port.Net)
	switch {
	case !bounded, ok && permitted.ContainsPrefix(net), !ok && isEverybody(permitted):
		return ""
	case ok:
		return net.String()
	}
	return "everywhere"
}

func (o *openFailsafes) describeCauses() string {
	if len(o.causes) == 0 {
		return "its defaults"
	}
	return "FelixConfiguration " + wording.ListNames(o.causes)
}

// remedyFor says how to close the ports. With spec.network.failsafe Scope, the operator
// writes a FelixConfiguration for each node, but only if the configuration narrows a
// default.
func (o *openFailsafes) remedyFor(hosts backend.Hosts) string {
	_, narrows := calico.ScopedFailsafes(hosts)
	switch {
	case narrows && !hosts.ScopeFailsafes:
		return "set spec.network.failsafe to Scope"
	case narrows && o.causedByNode:
		return "spec.network.failsafe is Scope, but another manager set spec.failsafeInboundHostPorts of these objects: remove the field there"
	case narrows:
		return "spec.network.failsafe is Scope, but the FelixConfigurations of these nodes are not written: see the condition Programmed"
	}
	return "remove these ports from spec.failsafeInboundHostPorts there"
}

func isEverybody(set *netipx.IPSet) bool {
	return set.ContainsPrefix(netip.PrefixFrom(netip.IPv4Unspecified(), 0)) &&
		set.ContainsPrefix(netip.PrefixFrom(netip.IPv6Unspecified(), 0))
}
