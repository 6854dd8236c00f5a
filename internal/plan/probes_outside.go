// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"net/netip"
	"slices"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
)

// addOutside adds what nodes of the control plane, or all nodes, send to single
// addresses outside the cluster, required or not.
func (p *Probes) addOutside() {
	p.outside = map[netip.Addr]map[v1alpha1.PortNumber]probed{}
	for _, flow := range slices.Concat(p.lines.Flows, p.lines.Optional) {
		if flow.To != profile.RoleAny || !p.leaves(flow) {
			continue
		}
		for _, destination := range flow.Destinations {
			p.addDestination(destination, flow.Traffic)
		}
	}
}

// addDestination adds the single TCP ports at a single address, of an IP version that
// the node has.
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

// leaves says whether a flow is one that the node begins.
func (p *Probes) leaves(flow profile.Flow) bool {
	return slices.ContainsFunc(flow.From, func(role profile.Role) bool {
		return slices.ContainsFunc(p.node.Addresses, func(a netip.Addr) bool { return p.lines.has(role, a) })
	})
}

// expectOutside is Expect at an address outside the cluster: what the node itself
// reached there before it must reach with its rules. Of others that tells nothing.
func (p Probes) expectOutside(
	observer v1alpha1.Observation, ports map[v1alpha1.PortNumber]probed, port v1alpha1.PortNumber,
) rollout.Expectation {
	if _, known := ports[port]; known && observer.Name == p.node.Name {
		return rollout.MustConnect
	}
	return rollout.AnyOutcome
}
