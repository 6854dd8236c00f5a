// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"net/netip"
	"slices"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	corev1 "k8s.io/api/core/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// Names of the sets of addresses that follow the cluster.
const (
	setControlPlane = "control-plane"
	setNodes        = "nodes"
	setPods         = "pods"
)

// hostResolver turns a policy's intent for its nodes into addresses and ports.
type hostResolver struct {
	policy   *Policy
	profile  profile.Profile
	cni      string
	snapshot state.Snapshot
	sets     map[string]calico.Set // by name, those that are referred to
}

func (r *hostResolver) resolve(policies []Policy) (calico.Hosts, []Loss, map[string]string) {
	network := r.policy.Spec.Network
	nodes, losses := selectedNodes(r.policy, policies, r.snapshot.Nodes)
	hosts := calico.Hosts{
		Policy:         r.policy.Name,
		DenyUnlisted:   network.Unlisted == v1alpha1.UnlistedDeny,
		ScopeFailsafes: network.Failsafe == v1alpha1.FailsafeScope,
	}
	for _, component := range onHosts(r.policy) {
		hosts.Components = append(hosts.Components, r.component(component))
	}
	hosts.Required = r.flows(hosts, true)
	if hosts.DenyUnlisted {
		hosts.Listed = r.flows(hosts, false)
	}
	for _, name := range []string{setControlPlane, setNodes, setPods} {
		if set, used := r.sets[name]; used {
			hosts.Sets = append(hosts.Sets, set)
		}
	}
	foreign := map[string]string{}
	for _, node := range nodes {
		endpoint := foreignEndpoint(hosts, node.Name, r.snapshot.Calico.Endpoints)
		if endpoint != "" {
			foreign[node.Name] = endpoint
		}
		hosts.Nodes = append(hosts.Nodes, calico.Node{
			Name: node.Name, Addresses: state.NodeAddresses(node), Enforced: true, Foreign: endpoint != "",
		})
	}
	return hosts, losses, foreign
}

func (r *hostResolver) component(component v1alpha1.Component) calico.Component {
	out := calico.Component{Name: component.Name, Interface: component.Interface, Ports: trafficOf(component.Ports)}
	if name, known := wellKnown[component.Name]; known {
		program, _ := r.profile.Component(name)
		out.Ports = program.Traffic
	}
	if prefix, err := netip.ParsePrefix(string(component.AddressCIDR)); err == nil {
		out.Address = prefix
	}
	for _, reference := range component.AllowFrom {
		switch reference.Role {
		case v1alpha1.RoleControlPlane:
			out.From = append(out.From, r.set(setControlPlane))
		case v1alpha1.RoleNodes:
			out.From = append(out.From, r.set(setNodes))
		case v1alpha1.RolePods:
			out.From = append(out.From, r.set(setPods))
		default:
			out.From = append(out.From, calico.Source{Prefixes: r.peers(func(p v1alpha1.Peer) bool { return p.Name == reference.Peer })})
		}
	}
	return out
}

// flows returns the profile's flows that come in at the nodes and that the
// policy could cut: the required ones, or all others.
func (r *hostResolver) flows(hosts calico.Hosts, required bool) []calico.Flow {
	var flows []calico.Flow
	for _, flow := range r.profile.Flows {
		if flow.Required != required || !flow.Arrives() || flow.To == profile.RoleSelf || r.translated(flow) ||
			!hosts.DenyUnlisted && !restricted(hosts, flow) {
			continue
		}
		from := r.roles(flow.From)
		if len(from) == 0 {
			continue // the node itself, or a role that the policy gives no addresses to
		}
		flows = append(flows, calico.Flow{Name: flow.Name, From: from, Destinations: flow.Destinations, Traffic: flow.Traffic})
	}
	return flows
}

// translated says whether the flow is sent on to pods before a host's policy
// sees it.
func (r *hostResolver) translated(flow profile.Flow) bool {
	component, _ := r.profile.Component(flow.Component)
	return component.Translated
}

func restricted(hosts calico.Hosts, flow profile.Flow) bool {
	return slices.ContainsFunc(hosts.Components, func(c calico.Component) bool {
		return slices.ContainsFunc(c.Ports, func(a profile.Traffic) bool {
			return slices.ContainsFunc(flow.Traffic, a.Overlaps)
		})
	})
}

// roles returns the sources that roles of the profile stand for.
func (r *hostResolver) roles(roles []profile.Role) []calico.Source {
	var sources []calico.Source
	for _, role := range roles {
		switch role {
		case profile.RoleControlPlane:
			sources = append(sources, r.set(setControlPlane))
		case profile.RoleNodes:
			sources = append(sources, r.set(setNodes))
		case profile.RolePods:
			sources = append(sources, r.set(setPods))
		case profile.RoleAny:
			sources = append(sources, calico.Source{})
		case profile.RoleAdmin, profile.RoleLoadBalancer, profile.RolePrometheus:
			if prefixes := r.playing(v1alpha1.ExternalRole(role)); len(prefixes) > 0 {
				sources = append(sources, calico.Source{Prefixes: prefixes})
			}
		}
	}
	return sources
}

// playing returns the networks of the peers that have the role.
func (r *hostResolver) playing(role v1alpha1.ExternalRole) []netip.Prefix {
	return r.peers(func(p v1alpha1.Peer) bool { return p.Role == role })
}

func (r *hostResolver) peers(wanted func(v1alpha1.Peer) bool) []netip.Prefix {
	var prefixes []netip.Prefix
	for _, peer := range r.policy.Spec.Network.Peers {
		if !wanted(peer) {
			continue
		}
		for _, cidr := range peer.CIDRs {
			if prefix, err := netip.ParsePrefix(string(cidr)); err == nil { // the schema lets nothing else in
				prefixes = append(prefixes, prefix)
			}
		}
	}
	return prefixes
}

// set returns a source that follows the cluster, and notes that it is needed.
func (r *hostResolver) set(name string) calico.Source {
	if _, known := r.sets[name]; !known {
		r.sets[name] = calico.Set{Name: name, Members: r.members(name)}
	}
	return calico.Source{Set: name}
}

func (r *hostResolver) members(name string) map[string][]netip.Prefix {
	members := map[string][]netip.Prefix{}
	// Where Calico gives pods their addresses, those of the nodes' own ranges are
	// not used.
	if pools := r.snapshot.Calico.Pools; name == setPods && r.cni == "calico" && len(pools) > 0 {
		members["pools"] = poolPrefixes(pools)
		return members
	}
	if name == setControlPlane {
		// An API server may have an address that its node does not show.
		for _, server := range r.snapshot.Facts.APIServer {
			members["API servers"] = append(members["API servers"], netip.PrefixFrom(server.Addr(), server.Addr().BitLen()))
		}
	}
	for i := range r.snapshot.Nodes {
		node := &r.snapshot.Nodes[i]
		var prefixes []netip.Prefix
		switch {
		case name == setPods:
			prefixes = podPrefixes(node)
		case name == setNodes || r.policy.Selects(node):
			prefixes = state.NodePrefixes(node)
		}
		if len(prefixes) > 0 {
			members[node.Name] = prefixes
		}
	}
	return members
}

// poolPrefixes returns the networks that Calico gives pods' addresses from.
// Pools that are disabled count: pods may still have addresses of them.
func poolPrefixes(pools []v3.IPPool) []netip.Prefix {
	var prefixes []netip.Prefix
	for _, pool := range pools {
		if prefix, err := netip.ParsePrefix(pool.Spec.CIDR); err == nil {
			prefixes = append(prefixes, prefix.Masked())
		}
	}
	return prefixes
}

func podPrefixes(node *corev1.Node) []netip.Prefix {
	var prefixes []netip.Prefix
	for _, cidr := range node.Spec.PodCIDRs {
		if prefix, err := netip.ParsePrefix(cidr); err == nil {
			prefixes = append(prefixes, prefix.Masked())
		}
	}
	return prefixes
}
