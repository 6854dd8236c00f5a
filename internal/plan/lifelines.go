// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// Lifelines are the flows that must never be cut, and who takes part in them.
//
// They are all that the profile requires, whether or not the policy restricts
// them: an endpoint of ours puts the whole host under the policies of others, in
// both directions.
type Lifelines struct {
	Flows []profile.Flow
	// Optional are the other flows of the profile. They may be cut, but not without
	// a word.
	Optional []profile.Flow
	// Parties are the addresses that roles stand for, as far as they are known.
	Parties map[profile.Role][]netip.Prefix
	// Dedicated are addresses of control-plane nodes that no node shows.
	Dedicated []Dedicated
	// Virtual are addresses and ports by which members of the cluster reach the API
	// servers, and that identify no node: a control-plane node may hold one.
	Virtual []netip.AddrPort
	// Protected are the names of the nodes that the policy protects. What others
	// send to each other is not its doing.
	Protected map[string]bool
}

// Dedicated are addresses in a network of a component's own that control-plane nodes
// have there, as the policy says. Which node has which is not known.
type Dedicated struct {
	Addresses []netip.Prefix
	// Traffic is what is sent there, and Interface by which it arrives; empty if that
	// is not known.
	Traffic   []profile.Traffic
	Interface string
}

// Sent returns the flow as it is sent to the addresses, and whether it is.
func (d Dedicated) Sent(flow profile.Flow) (profile.Flow, bool) {
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

// has says whether an address is one of a role's.
func (l Lifelines) has(role profile.Role, address netip.Addr) bool {
	return slices.ContainsFunc(l.Parties[role], func(p netip.Prefix) bool { return p.Contains(address) })
}

// lifelines returns those of the policy's cluster.
func (r *hostResolver) lifelines(hosts calico.Hosts) Lifelines {
	lines := Lifelines{
		Parties: map[profile.Role][]netip.Prefix{}, Protected: map[string]bool{}, Dedicated: r.dedicated(hosts.Components),
	}
	for _, node := range hosts.Nodes {
		lines.Protected[node.Name] = true
	}
	for _, flow := range r.profile.Flows {
		switch {
		case r.translated(flow):
		case flow.Required:
			lines.Flows = append(lines.Flows, r.toEveryKubelet(flow))
		default:
			lines.Optional = append(lines.Optional, r.toEveryKubelet(flow))
		}
	}
	found := func(set string, external ...v1alpha1.ExternalRole) []netip.Prefix {
		members := r.members(set)
		prefixes := make([]netip.Prefix, 0, 2*len(members))
		for _, name := range slices.Sorted(maps.Keys(members)) {
			prefixes = append(prefixes, members[name]...)
		}
		for _, role := range external {
			prefixes = append(prefixes, r.playing(role)...)
		}
		return prefixes
	}
	lines.Virtual = r.virtual()
	lines.Parties[profile.RoleControlPlane] = append(r.controlling(), r.playing(v1alpha1.ExternalControlPlane)...)
	lines.Parties[profile.RoleNodes] = found(calico.SetNodes, v1alpha1.ExternalNodes, v1alpha1.ExternalControlPlane)
	lines.Parties[profile.RolePods] = found(calico.SetPods, v1alpha1.ExternalPods)
	for _, role := range []profile.Role{profile.RoleAdmin, profile.RoleLoadBalancer, profile.RolePrometheus} {
		lines.Parties[role] = r.playing(v1alpha1.ExternalRole(role))
	}
	// Who may be anybody is judged as the nodes are: others may well be kept out by
	// somebody else.
	lines.Parties[profile.RoleSelf] = lines.Parties[profile.RoleNodes]
	lines.Parties[profile.RoleAny] = lines.Parties[profile.RoleNodes]
	return lines
}

// dedicated returns the addresses in networks of components that peers give to
// control-plane nodes, and that no node shows.
func (r *hostResolver) dedicated(components []calico.Component) []Dedicated {
	var out []Dedicated
	for _, component := range components {
		d := Dedicated{Traffic: component.Ports, Interface: component.Interface}
		for _, prefix := range r.playing(v1alpha1.ExternalControlPlane) {
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

// controlling returns the addresses of the nodes that are of the control plane beyond
// doubt. Those that are selected are let in as such, but need not be: a policy may
// be for other nodes. Only where no node says so are they taken for it.
func (r *hostResolver) controlling() []netip.Prefix {
	var sure, selected []netip.Prefix
	for i := range r.snapshot.Nodes {
		node := &r.snapshot.Nodes[i]
		switch {
		case state.IsControlPlaneNode(node) || r.serves(node):
			sure = append(sure, r.addresses[i]...)
		case r.policy.Selects(node):
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
	for _, server := range r.hiddens {
		sure = append(sure, netip.PrefixFrom(server, server.BitLen()))
	}
	return sure
}

// comesFromOthers says whether the flow comes in at nodes, from others than
// themselves.
func comesFromOthers(flow profile.Flow) bool {
	return flow.ArrivesAtNode() && flow.To != profile.RoleSelf
}
