// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// RequiredFlows are the required flows and their senders and receivers.
//
// All required flows of the profile count, whether or not the policy restricts them: a
// managed endpoint puts the whole host under foreign policies too, in both directions.
type RequiredFlows struct {
	Flows []profile.Flow
	// Optional are the other flows of the profile. A cut of an optional flow is allowed, and is
	// reported.
	Optional []profile.Flow
	// Parties are the known addresses of each role.
	Parties map[profile.Role][]netip.Prefix
	// Dedicated are addresses of control-plane nodes that no node shows.
	Dedicated []Dedicated
	// Virtual are the addresses and ports at which members of the cluster reach the API
	// servers, except for addresses that identify a node. A control-plane node may hold a
	// virtual address.
	Virtual []netip.AddrPort
	// Protected are the names of the nodes that the policy protects. The policy has no effect
	// on flows between other nodes.
	Protected map[string]bool
}

// Dedicated are the control-plane nodes' addresses in a component's own network, as the
// policy declares them. The owner of each address is unknown.
type Dedicated struct {
	Addresses []netip.Prefix
	// Traffic goes to the addresses and arrives by Interface; Interface is empty if unknown.
	Traffic   []profile.Traffic
	Interface string
}

// PartOf returns the part of the flow that goes to the addresses, and whether there is any.
func (d Dedicated) PartOf(flow profile.Flow) (profile.Flow, bool) {
	traffic := flow.Traffic
	flow.Traffic, flow.Destinations = nil, nil
	for _, part := range d.Traffic {
		for _, all := range traffic {
			if both, overlap := all.Intersect(part); overlap {
				flow.Traffic = append(flow.Traffic, both)
			}
		}
	}
	return flow, len(flow.Traffic) > 0 && (flow.To == profile.RoleControlPlane || flow.To == profile.RoleNodes)
}

// isOfRole tells whether the address belongs to the role.
func (l RequiredFlows) isOfRole(role profile.Role, address netip.Addr) bool {
	return slices.ContainsFunc(l.Parties[role], func(p netip.Prefix) bool { return p.Contains(address) })
}

// requiredFlows returns the required flows, optional flows and parties of the policy's cluster.
func (r *hostResolver) requiredFlows(hosts backend.Hosts) RequiredFlows {
	required := RequiredFlows{
		Parties: map[profile.Role][]netip.Prefix{}, Protected: map[string]bool{}, Dedicated: r.dedicatedAddresses(hosts.Components),
	}
	for _, node := range hosts.Nodes {
		required.Protected[node.Name] = true
	}
	for _, flow := range r.profile.Flows {
		switch {
		case r.isTranslated(flow):
		case flow.Required:
			required.Flows = append(required.Flows, r.toEveryKubelet(flow))
		default:
			required.Optional = append(required.Optional, r.toEveryKubelet(flow))
		}
	}
	found := func(set string, external ...v1alpha1.ExternalRole) []netip.Prefix {
		members := r.membersOf(set)
		prefixes := make([]netip.Prefix, 0, 2*len(members))
		for _, name := range slices.Sorted(maps.Keys(members)) {
			prefixes = append(prefixes, members[name]...)
		}
		for _, role := range external {
			prefixes = append(prefixes, r.networksWithRole(role)...)
		}
		return prefixes
	}
	required.Virtual = r.virtualEndpoints()
	required.Parties[profile.RoleControlPlane] = append(r.controlPlaneAddresses(), r.networksWithRole(v1alpha1.ExternalControlPlane)...)
	required.Parties[profile.RoleNodes] = found(backend.SetNodes, v1alpha1.ExternalNodes, v1alpha1.ExternalControlPlane)
	required.Parties[profile.RolePods] = found(backend.SetPods, v1alpha1.ExternalPods)
	for _, role := range []profile.Role{profile.RoleAdmin, profile.RoleLoadBalancer, profile.RolePrometheus} {
		required.Parties[role] = r.networksWithRole(v1alpha1.ExternalRole(role))
	}
	// The roles Self and Any are judged with the addresses of the nodes. A foreign policy may
	// keep out other senders on purpose.
	required.Parties[profile.RoleSelf] = required.Parties[profile.RoleNodes]
	required.Parties[profile.RoleAny] = required.Parties[profile.RoleNodes]
	return required
}

// dedicatedAddresses returns the addresses in components' networks that peers give to
// control-plane nodes and no node shows.
func (r *hostResolver) dedicatedAddresses(components []backend.Component) []Dedicated {
	var out []Dedicated
	for _, component := range components {
		d := Dedicated{Traffic: component.Ports, Interface: component.Interface}
		for _, prefix := range r.networksWithRole(v1alpha1.ExternalControlPlane) {
			switch {
			case !component.Address.IsValid() || !prefix.Overlaps(component.Address) || prefix.IsSingleIP() && r.shown[prefix.Addr()]:
			case prefix.Bits() < component.Address.Bits():
				d.Addresses = append(d.Addresses, component.Address)
			default:
				d.Addresses = append(d.Addresses, prefix)
			}
		}
		if len(d.Addresses) > 0 {
			out = append(out, d)
		}
	}
	return out
}

// controlPlaneAddresses returns the addresses of the nodes that certainly belong to the control
// plane: labelled nodes, and nodes with the address of an API server. Nodes that the policy
// merely selects are let in as control plane, but are not required to be, because a policy
// may be for other nodes. Selected nodes count only if no node certainly belongs to the
// control plane.
func (r *hostResolver) controlPlaneAddresses() []netip.Prefix {
	var sure, selected []netip.Prefix
	for i, node := range r.snapshot.Nodes {
		switch {
		case state.IsControlPlaneNode(node) || r.hasAPIServerAddress(node):
			sure = append(sure, r.addresses[i]...)
		case r.policy.SelectsNode(node):
			selected = append(selected, r.addresses[i]...)
		default:
			for _, prefix := range r.addresses[i] {
				if slices.Contains(r.servers, prefix.Addr()) {
					sure = append(sure, prefix)
				}
			}
		}
	}
	if len(sure) == 0 {
		sure = selected
	}
	for _, server := range r.serversWithoutNode {
		sure = append(sure, netip.PrefixFrom(server, server.BitLen()))
	}
	return sure
}

// comesFromOthers tells whether the flow arrives at nodes from other machines or pods.
func comesFromOthers(flow profile.Flow) bool {
	return flow.ArrivesAtNode() && flow.To != profile.RoleSelf
}
