// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// Probes are the connections to try to a node, with the expected outcomes.
type Probes struct {
	hosts backend.Hosts
	with  backend.Renderer
	flows RequiredFlows
	nodes map[string][]netip.Addr
	node  backend.Node
	ports map[v1alpha1.PortNumber]probed
	// dedicated are the ports at addresses that no node shows.
	dedicated map[netip.Addr]map[v1alpha1.PortNumber]probed
	// outside are the ports at addresses outside the cluster to which the node connects.
	outside map[netip.Addr]map[v1alpha1.PortNumber]probed
	tls     []profile.Traffic
}

// probed is how a port is tried.
type probed struct {
	// as is the port in the rules. A load balancer may listen on another port than the API
	// servers.
	as int32
	// protocol is the protocol to speak.
	protocol v1alpha1.ProbeProtocol
}

// speakTLS are the components whose ports speak TLS. Kubernetes' own components serve only
// TLS since v1.24, and all supported distributions set up etcd with TLS.
var speakTLS = []string{profile.ComponentAPIServer, "etcd", "kubelet", "kube-controller-manager", "kube-scheduler"}

// tlsOf returns the profile's traffic over TLS.
func tlsOf(p profile.Profile) []profile.Traffic {
	var traffic []profile.Traffic
	for _, name := range speakTLS {
		component, _ := p.FindComponent(name)
		traffic = append(traffic, component.Traffic...)
	}
	return traffic
}

// ProbesOf returns the probes of a node. Targets are, at each of the node's addresses,
// every TCP port of the components and of the required flows, restricted or not.
//
// Required flows to addresses that no node shows are targets as well, because such an
// address may belong to the node, or to a load balancer in front of the node. Destinations
// in the profile, such as the cloud's metadata service, are also targets: an endpoint puts
// the node's outgoing packets under foreign policies.
func ProbesOf(hosts Hosts, node backend.Node, snapshot state.Snapshot) Probes {
	p := Probes{
		hosts: hosts.Whole, with: snapshot.OnHosts(), flows: hosts.RequiredFlows, node: node, nodes: map[string][]netip.Addr{},
		ports: map[v1alpha1.PortNumber]probed{}, tls: hosts.tls,
	}
	for _, component := range p.hosts.Components {
		p.addPorts(p.ports, component.Ports)
	}
	for _, flow := range p.flows.Flows {
		if p.arrivesAtNode(flow) {
			p.addPorts(p.ports, flow.Traffic)
		}
	}
	p.addDedicated()
	p.addVirtual()
	p.addOutside()
	identity := snapshot.Addresses()
	for i := range snapshot.Nodes {
		name := snapshot.Nodes[i].Name
		p.nodes[name] = identity.OfNode(name)
	}
	return p
}

// addPorts adds single ports. Ranges are left out, because the used ports of a range are
// unknown.
func (p *Probes) addPorts(ports map[v1alpha1.PortNumber]probed, traffic []profile.Traffic) {
	for _, t := range traffic {
		if t.Protocol == profile.TCP && t.First != 0 && t.Last <= t.First {
			ports[v1alpha1.PortNumber(t.First)] = probed{int32(t.First), p.protocolOf(t.First)}
		}
	}
}

// addDedicated adds the required flows to single addresses that no node shows.
func (p *Probes) addDedicated() {
	p.dedicated = map[netip.Addr]map[v1alpha1.PortNumber]probed{}
	for _, at := range p.flows.Dedicated {
		for _, flow := range p.flows.Flows {
			sent, is := at.PartOf(flow)
			if !is || !p.arrivesAtNode(flow) {
				continue
			}
			for _, prefix := range at.Addresses {
				if !prefix.IsSingleIP() {
					continue
				}
				if p.dedicated[prefix.Addr()] == nil {
					p.dedicated[prefix.Addr()] = map[v1alpha1.PortNumber]probed{}
				}
				p.addPorts(p.dedicated[prefix.Addr()], sent.Traffic)
			}
		}
	}
}

// addVirtual adds the addresses by which members of the cluster reach the API servers.
// Kubelets connect by these addresses, so a reachable virtual address must stay reachable.
func (p *Probes) addVirtual() {
	for _, flow := range p.flows.Flows {
		if flow.Component != profile.ComponentAPIServer || !p.arrivesAtNode(flow) || len(flow.Traffic) == 0 {
			continue
		}
		for _, virtual := range p.flows.Virtual {
			ports := p.dedicated[virtual.Addr()]
			if ports == nil {
				ports = map[v1alpha1.PortNumber]probed{}
				p.dedicated[virtual.Addr()] = ports
			}
			ports[v1alpha1.PortNumber(virtual.Port())] = probed{int32(flow.Traffic[0].First), v1alpha1.ProbeTLS}
		}
	}
}

func (p *Probes) protocolOf(port uint16) v1alpha1.ProbeProtocol {
	if slices.ContainsFunc(p.tls, func(t profile.Traffic) bool { return t.First <= port && port <= max(t.First, t.Last) }) {
		return v1alpha1.ProbeTLS
	}
	return v1alpha1.ProbeTCP
}

// Targets returns the sorted targets for every observer.
func (p Probes) Targets() []v1alpha1.ProbeTarget {
	var own, others, outside []v1alpha1.ProbeTarget
	for _, address := range p.node.Addresses {
		own = append(own, targetsAt(address, p.ports)...)
	}
	for address, ports := range p.dedicated {
		others = append(others, targetsAt(address, ports)...)
	}
	for address, ports := range p.outside {
		outside = append(outside, targetsAt(address, ports)...)
	}
	targets := slices.Concat(sortedTargets(own), sortedTargets(others), sortedTargets(outside))
	return targets[:min(len(targets), v1alpha1.MaxProbeTargets)]
}

func targetsAt(address netip.Addr, ports map[v1alpha1.PortNumber]probed) []v1alpha1.ProbeTarget {
	targets := make([]v1alpha1.ProbeTarget, 0, len(ports))
	for port, how := range ports {
		targets = append(targets, v1alpha1.ProbeTarget{Address: address.String(), Port: port, Protocol: how.protocol})
	}
	return targets
}

func sortedTargets(targets []v1alpha1.ProbeTarget) []v1alpha1.ProbeTarget {
	slices.SortFunc(targets, func(a, b v1alpha1.ProbeTarget) int {
		return cmp.Or(cmp.Compare(a.Address, b.Address), cmp.Compare(a.Port, b.Port))
	})
	return targets
}

// ExpectedOutcome returns the expected outcome of an observer's attempt. A merely permitted
// connection may succeed or fail.
func (p Probes) ExpectedOutcome(observer v1alpha1.Observation, address string, port v1alpha1.PortNumber) rollout.Expectation {
	how, known := p.ports[port]
	from := p.addressesOf(observer)
	if to, err := netip.ParseAddr(address); err == nil {
		switch {
		case p.dedicated[to] != nil:
			return p.expectDedicated(from, p.dedicated[to], port)
		case p.outside[to] != nil:
			return p.expectOutside(observer, p.outside[to], port)
		}
	}
	if !known || len(from) == 0 {
		return rollout.AnyOutcome
	}
	if observer.Name == p.node.Name {
		return rollout.MustConnect
	}
	matches := func(t profile.Traffic) bool { return includesTCP(t, how.as) }
	if p.isRequired(from, matches) {
		return rollout.MustConnect
	}
	permitted, bounded := p.hosts.SourcesWithoutNodes(slices.Concat(p.hosts.Required, p.hosts.Listed), matches)
	switch {
	case !bounded || !slices.ContainsFunc(from, func(a netip.Addr) bool { return !permitted.Contains(a) }):
		return rollout.MustConnect
	case slices.ContainsFunc(from, permitted.Contains) || p.isLeftOpen(address, matches):
		return rollout.AnyOutcome
	}
	return rollout.MustNotConnect
}

// expectDedicated is Expect for an address that no node shows. The address may belong to
// another node, without rules so far.
func (p Probes) expectDedicated(from []netip.Addr, ports map[v1alpha1.PortNumber]probed, port v1alpha1.PortNumber) rollout.Expectation {
	how, known := ports[port]
	if known && len(from) > 0 && p.isRequired(from, func(t profile.Traffic) bool { return includesTCP(t, how.as) }) {
		return rollout.MustConnect
	}
	return rollout.AnyOutcome
}

// includesTCP tells whether the traffic includes a TCP connection to the port.
func includesTCP(t profile.Traffic, port int32) bool {
	covered := t.First == 0 || int32(t.First) <= port && port <= int32(max(t.First, t.Last))
	return covered && (t.Protocol == profile.TCP || t.Protocol == "")
}

// isRequired tells whether a required flow allows all of the addresses.
func (p Probes) isRequired(from []netip.Addr, matches func(profile.Traffic) bool) bool {
	return slices.ContainsFunc(p.flows.Flows, func(flow profile.Flow) bool {
		return p.arrivesAtNode(flow) && slices.ContainsFunc(flow.Traffic, matches) && !slices.ContainsFunc(from, func(a netip.Addr) bool {
			return !slices.ContainsFunc(flow.From, func(role profile.Role) bool { return p.flows.isOfRole(role, a) })
		})
	})
}

// arrivesAtNode tells whether a flow arrives at the node from other machines or pods.
func (p Probes) arrivesAtNode(flow profile.Flow) bool {
	return flow.To == profile.RoleNodes || flow.To == profile.RoleControlPlane &&
		slices.ContainsFunc(p.node.Addresses, func(a netip.Addr) bool { return p.flows.isOfRole(profile.RoleControlPlane, a) })
}

// isLeftOpen tells whether no declaration closes the port at the address, or failsafe ports keep
// the port open. The status already reports open failsafe ports.
func (p Probes) isLeftOpen(address string, matches func(profile.Traffic) bool) bool {
	closed := p.hosts.DenyUnlisted || slices.ContainsFunc(p.hosts.Components, func(c backend.Component) bool {
		to, err := netip.ParseAddr(address)
		elsewhere := c.Interface != "" || c.Address.IsValid() && (err != nil || !c.Address.Contains(to))
		return !elsewhere && slices.ContainsFunc(c.Ports, matches)
	})
	failsafes := p.with.FailsafesInForce(p.hosts)
	if p.node.Ruleset.FailsafesScoped {
		failsafes, _ = p.with.ScopeFailsafes(p.hosts)
	}
	for _, failsafe := range failsafes {
		if failsafe.Net == "" && matches(failsafe.Traffic()) {
			return true
		}
	}
	return !closed
}

// addressesOf returns the possible source addresses of an observer's packets.
func (p Probes) addressesOf(observer v1alpha1.Observation) []netip.Addr {
	if observer.Name != v1alpha1.ObserverOperator {
		return p.nodes[observer.Name]
	}
	var addresses []netip.Addr
	for _, text := range observer.Addresses {
		if address, err := netip.ParseAddr(text); err == nil {
			addresses = append(addresses, address.Unmap())
		}
	}
	return addresses
}
