// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"net/netip"
	"slices"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
)

// addOutside adds the flows of the node to single addresses outside the cluster, required
// or not.
func (p *Probes) addOutside() {
	p.outside = map[netip.Addr]map[v1alpha1.PortNumber]probed{}
	for _, flow := range slices.Concat(p.flows.Flows, p.flows.Optional) {
		if flow.To != profile.RoleAny || !p.leavesNode(flow) {
			continue
		}
		for _, destination := range flow.Destinations {
			p.addDestination(destination, flow.Traffic)
		}
	}
}

// addDestination adds the single TCP ports at a single address, if the node has the
// address's IP version.
func (p *Probes) addDestination(destination netip.Prefix, traffic []profile.Traffic) {
	to := destination.Addr()
	family := func(a netip.Addr) bool { return a.Is4() == to.Is4() }
	if !destination.IsSingleIP() || to.IsMulticast() || !slices.ContainsFunc(p.node.Addresses, family) {
		return
	}
	if p.outside[to] == nil {
		p.outside[to] = map[v1alpha1.PortNumber]probed{}
	}
	for _, t := range traffic {
		if t.Protocol == profile.TCP && t.First != 0 && t.Last <= t.First {
			p.outside[to][v1alpha1.PortNumber(t.First)] = probed{int32(t.First), v1alpha1.ProbeTCP}
		}
	}
}

// leavesNode tells whether the node sends the flow.
func (p *Probes) leavesNode(flow profile.Flow) bool {
	return slices.ContainsFunc(flow.From, func(role profile.Role) bool {
		return slices.ContainsFunc(p.node.Addresses, func(a netip.Addr) bool { return p.flows.isOfRole(role, a) })
	})
}

// expectOutside is Expect for an address outside the cluster. If the node's own observer
// reached the address in the baseline, the observer must reach the address with the rules
// too. Attempts of other observers prove nothing about the node.
func (p Probes) expectOutside(
	observer v1alpha1.Observation, ports map[v1alpha1.PortNumber]probed, port v1alpha1.PortNumber,
) rollout.Expectation {
	if _, known := ports[port]; known && observer.Name == p.node.Name {
		return rollout.MustConnect
	}
	return rollout.AnyOutcome
}
