// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"net/netip"
	"slices"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	corev1 "k8s.io/api/core/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// hostResolver turns a policy's intent for nodes into addresses and ports.
type hostResolver struct {
	addressBook
	profile   profile.Profile
	cni       string
	snapshot  state.Snapshot
	addresses [][]netip.Prefix      // the identifying addresses of each node of the snapshot
	shown     map[netip.Addr]bool   // the addresses of all nodes
	sets      map[string]calico.Set // by name; only the sets that rules refer to
	known     map[string]members    // members of sets by the set's name, filled on demand
	hiddens   []netip.Addr          // addresses of API servers that no node shows
	notes     []string              // warnings about senders that are not let in
	// unprotected are the nodes without a known address.
	unprotected []string
}

func newHostResolver(policy *Policy, p profile.Profile, cni string, snapshot state.Snapshot) *hostResolver {
	r := &hostResolver{
		addressBook: newAddressBook(policy, snapshot), profile: p, cni: cni, snapshot: snapshot,
		addresses: make([][]netip.Prefix, len(snapshot.Nodes)), shown: make(map[netip.Addr]bool, 2*len(snapshot.Nodes)),
		sets: map[string]calico.Set{}, known: map[string]members{},
	}
	for i := range snapshot.Nodes {
		r.addresses[i] = r.PrefixesOf(snapshot.Nodes[i].Name)
		for _, prefix := range r.addresses[i] {
			r.shown[prefix.Addr()] = true
		}
	}
	r.hiddens = r.hidden()
	return r
}

func (r *hostResolver) resolve(policies []Policy) (calico.Hosts, []Loss, map[string]string) {
	network := r.policy.Spec.Network
	nodes, losses := selectedNodes(r.policy, policies, r.snapshot.Nodes)
	hosts := calico.Hosts{
		Policy:         r.policy.Name,
		DenyUnlisted:   network.Unlisted == v1alpha1.UnlistedDeny,
		ScopeFailsafes: network.Failsafe == v1alpha1.FailsafeScope,
	}
	if len(r.hiddens) > 0 {
		// no rule refers to the set, but the set shows the addresses in other sets
		r.set(calico.SetAPIServers)
	}
	hosts.Failsafes = failsafesOf(r.snapshot.Calico.Felix)
	hosts.Servers = slices.Clone(r.hiddens)
	for _, virtual := range r.virtual() {
		hosts.Servers = append(hosts.Servers, virtual.Addr())
	}
	for _, component := range onHosts(r.policy) {
		hosts.Components = append(hosts.Components, r.component(component))
	}
	hosts.Required = r.flows(hosts, true)
	if hosts.DenyUnlisted {
		hosts.Listed = r.flows(hosts, false)
	}
	for _, name := range []string{calico.SetControlPlane, calico.SetNodes, calico.SetPods, calico.SetAPIServers} {
		if set, used := r.sets[name]; used {
			hosts.Sets = append(hosts.Sets, set)
		}
	}
	r.notes = slices.Concat(r.notes, r.wider(hosts), r.outsidePools(), r.outsideTunnels())
	foreign := map[string]string{}
	for _, node := range nodes {
		addresses := r.addressesOf(node)
		if len(addresses) == 0 {
			r.unprotected = append(r.unprotected, node.Name)
			continue
		}
		endpoint := foreignEndpoint(hosts, node.Name, r.snapshot.Calico.Endpoints)
		if endpoint != "" {
			foreign[node.Name] = endpoint
		}
		hosts.Nodes = append(hosts.Nodes, calico.Node{
			Name: node.Name, Addresses: addresses, Shared: r.sharedBy(node), Enforced: true, Foreign: endpoint != "",
			KeepFailsafes: anyForeign(node, r.snapshot.Calico.Endpoints) || !calico.CanScopeFailsafes(node.Name),
		})
	}
	slices.SortFunc(hosts.Nodes, func(a, b calico.Node) int { return cmp.Compare(a.Name, b.Name) })
	return hosts, losses, foreign
}

// addressesOf returns the addresses that a node shows. If the node shows none, the result
// is the addresses of the node's endpoint, or all addresses that the endpoint could have.
func (r *hostResolver) addressesOf(node *corev1.Node) []netip.Addr {
	addresses := slices.Clone(r.OfNode(node.Name))
	if len(addresses) > 0 {
		return addresses
	}
	endpoints := EndpointsOn(r.policy.Name, node.Name, r.snapshot.Calico.Endpoints)
	for _, e := range endpoints {
		for _, text := range e.Spec.ExpectedIPs {
			if address, err := netip.ParseAddr(text); err == nil {
				addresses = append(addresses, address)
			}
		}
	}
	// an endpoint of a named interface lists no addresses
	if len(endpoints) > 0 && len(addresses) == 0 {
		return r.lost(calico.SetControlPlane)
	}
	return addresses
}

// sharedBy returns the addresses that a node shares with other nodes. A shared address lets
// in no sender, but the node must reach itself by the address.
func (r *hostResolver) sharedBy(node *corev1.Node) []netip.Addr {
	return slices.DeleteFunc(state.NodeAddresses(node), func(a netip.Addr) bool { return slices.Contains(r.OfNode(node.Name), a) })
}

func (r *hostResolver) component(component v1alpha1.Component) calico.Component {
	out := calico.Component{
		Name: component.Name, Interface: component.Interface, Ports: trafficOf(component.Ports), RequiredOnly: len(component.AllowFrom) == 0,
	}
	if name, known := wellKnown[component.Name]; known {
		program, _ := r.profile.FindComponent(name)
		out.Ports = program.Traffic
	}
	if prefix, err := netip.ParsePrefix(string(component.AddressCIDR)); err == nil {
		out.Address = prefix
	}
	for _, reference := range component.AllowFrom {
		if reference.Role != "" {
			out.From = append(out.From, r.role(profile.Role(reference.Role))...)
			continue
		}
		out.From = append(out.From, calico.Source{Prefixes: r.peers(func(p v1alpha1.Peer) bool { return p.Name == reference.Peer })})
	}
	return out
}

// flows returns the profile's flows that arrive at nodes and that the policy could cut: the
// required flows, or all other flows.
func (r *hostResolver) flows(hosts calico.Hosts, required bool) []calico.Flow {
	var flows []calico.Flow
	for _, flow := range r.profile.Flows {
		if flow.Required != required || !comesFromOthers(flow) || r.translated(flow) ||
			!hosts.DenyUnlisted && !restricted(hosts, flow) {
			continue
		}
		from := r.roles(flow.From)
		if len(from) == 0 {
			continue // the policy gives the role no addresses
		}
		flows = append(flows, calico.Flow{Name: flow.Name, From: from, Destinations: flow.Destinations, Traffic: flow.Traffic})
	}
	return flows
}

// translated tells whether the flow is redirected to pods before a host's policy sees the
// flow.
func (r *hostResolver) translated(flow profile.Flow) bool {
	component, _ := r.profile.FindComponent(flow.Component)
	return component.Translated
}

func restricted(hosts calico.Hosts, flow profile.Flow) bool {
	return slices.ContainsFunc(hosts.Components, func(c calico.Component) bool {
		return slices.ContainsFunc(c.Ports, func(a profile.Traffic) bool {
			return slices.ContainsFunc(flow.Traffic, a.Overlaps)
		})
	})
}

// roles returns the sources of several roles.
func (r *hostResolver) roles(roles []profile.Role) []calico.Source {
	var sources []calico.Source
	for _, role := range roles {
		sources = append(sources, r.role(role)...)
	}
	return sources
}

// role returns the sources of a role: addresses found in the cluster, and addresses that
// peers add. The role Self needs no source.
func (r *hostResolver) role(role profile.Role) []calico.Source {
	switch role {
	case profile.RoleControlPlane:
		return r.found(calico.SetControlPlane, v1alpha1.ExternalControlPlane)
	case profile.RoleNodes:
		return r.found(calico.SetNodes, v1alpha1.ExternalNodes, v1alpha1.ExternalControlPlane)
	case profile.RolePods:
		return r.found(calico.SetPods, v1alpha1.ExternalPods)
	case profile.RoleAny:
		return []calico.Source{{}}
	case profile.RoleSelf:
		return nil
	default:
		return static(r.playing(v1alpha1.ExternalRole(role)))
	}
}

// found returns the sources of a role that follows the cluster.
func (r *hostResolver) found(set string, external ...v1alpha1.ExternalRole) []calico.Source {
	var prefixes []netip.Prefix
	for _, role := range external {
		prefixes = append(prefixes, r.playing(role)...)
	}
	sources := static(prefixes)
	if len(sources) == 0 || len(r.members(set)) > 0 {
		sources = append([]calico.Source{r.set(set)}, sources...)
	}
	return sources
}

func static(prefixes []netip.Prefix) []calico.Source {
	if len(prefixes) == 0 {
		return nil
	}
	return []calico.Source{{Prefixes: prefixes}}
}

// playing returns the networks of the peers with the role.
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
			// the schema admits only valid CIDRs
			if prefix, err := netip.ParsePrefix(string(cidr)); err == nil {
				prefixes = append(prefixes, prefix)
			}
		}
	}
	return prefixes
}

// failsafesOf returns the cluster's failsafe ports; nil if Felix's defaults apply.
func failsafesOf(configurations []v3.FelixConfiguration) []v3.ProtoPort {
	for i := range configurations {
		if ports := configurations[i].Spec.FailsafeInboundHostPorts; configurations[i].Name == calico.FelixConfigurationDefault && ports != nil {
			return append([]v3.ProtoPort{}, *ports...)
		}
	}
	return nil
}
