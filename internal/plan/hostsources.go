// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// hostResolver turns a policy's intent for nodes into addresses and ports.
type hostResolver struct {
	addressBook
	profile            profile.Profile
	cni                string
	snapshot           state.Snapshot
	live               backend.Live
	endpoints          []backend.Endpoint     // of all nodes
	addresses          [][]netip.Prefix       // the identifying addresses of each node of the snapshot
	shown              map[netip.Addr]bool    // the addresses of all nodes
	sets               map[string]backend.Set // by name; only the sets that rules refer to
	known              map[string]members     // members of sets by the set's name, filled on demand
	serversWithoutNode []netip.Addr           // addresses of API servers that no node shows
	notes              []string               // warnings about senders that are not let in
	// unprotected are the nodes without a known address.
	unprotected []string
}

func newHostResolver(policy *Policy, p profile.Profile, cni string, snapshot state.Snapshot) *hostResolver {
	r := &hostResolver{
		addressBook: newAddressBook(policy, snapshot), profile: p, cni: cni, snapshot: snapshot,
		live: snapshot.OnHosts(), endpoints: snapshot.OnHosts().HostEndpoints(),
		addresses: make([][]netip.Prefix, len(snapshot.Nodes)), shown: make(map[netip.Addr]bool, 2*len(snapshot.Nodes)),
		sets: map[string]backend.Set{}, known: map[string]members{},
	}
	for i := range snapshot.Nodes {
		r.addresses[i] = r.PrefixesOf(snapshot.Nodes[i].Name)
		for _, prefix := range r.addresses[i] {
			r.shown[prefix.Addr()] = true
		}
	}
	r.serversWithoutNode = r.findServersWithoutNode()
	return r
}

func (r *hostResolver) resolveHosts(policies []Policy) (backend.Hosts, []Loss, map[string]string) {
	network := r.policy.Spec.Network
	nodes, losses := selectedNodes(r.policy, policies, r.snapshot.Nodes)
	hosts := backend.Hosts{
		Policy:         r.policy.Name,
		DenyUnlisted:   network.Unlisted == v1alpha1.UnlistedDeny,
		ScopeFailsafes: network.Failsafe == v1alpha1.FailsafeScope,
	}
	if len(r.serversWithoutNode) > 0 {
		// no rule refers to the set, but the set shows the addresses in other sets
		r.referToSet(backend.SetAPIServers)
	}
	hosts.Failsafes = r.live.Failsafes()
	hosts.Servers = slices.Clone(r.serversWithoutNode)
	for _, virtual := range r.virtualEndpoints() {
		hosts.Servers = append(hosts.Servers, virtual.Addr())
	}
	for _, component := range onHosts(r.policy) {
		hosts.Components = append(hosts.Components, r.resolveComponent(component))
	}
	hosts.Required = r.flowsToHosts(hosts, true)
	if hosts.DenyUnlisted {
		hosts.Listed = r.flowsToHosts(hosts, false)
	}
	for _, name := range []string{backend.SetControlPlane, backend.SetNodes, backend.SetPods, backend.SetAPIServers} {
		if set, used := r.sets[name]; used {
			hosts.Sets = append(hosts.Sets, set)
		}
	}
	r.notes = slices.Concat(r.notes, r.notesOnWiderFlows(hosts), r.outsidePools(), r.outsideTunnels())
	foreign := map[string]string{}
	for _, node := range nodes {
		addresses := r.addressesOf(node)
		if len(addresses) == 0 {
			r.unprotected = append(r.unprotected, node.Name)
			continue
		}
		endpoint := foreignEndpoint(r.live.EndpointInterfaces(hosts), node.Name, r.endpoints)
		if endpoint != "" {
			foreign[node.Name] = endpoint
		}
		hosts.Nodes = append(hosts.Nodes, backend.Node{
			Name: node.Name, Addresses: addresses, Shared: r.sharedBy(node), Foreign: endpoint != "",
			KeepFailsafes: anyForeign(node, r.endpoints) || !r.live.CanScopeFailsafes(node.Name),
		})
	}
	slices.SortFunc(hosts.Nodes, func(a, b backend.Node) int { return cmp.Compare(a.Name, b.Name) })
	return hosts, losses, foreign
}

// addressesOf returns the addresses that a node shows. If the node shows none, the result
// is the addresses of the node's endpoint, or all addresses that the endpoint could have.
func (r *hostResolver) addressesOf(node *corev1.Node) []netip.Addr {
	addresses := slices.Clone(r.OfNode(node.Name))
	if len(addresses) > 0 {
		return addresses
	}
	endpoints := EndpointsOn(r.policy.Name, node.Name, r.endpoints)
	for _, e := range endpoints {
		addresses = append(addresses, e.Addresses...)
	}
	// an endpoint of a named interface lists no addresses
	if len(endpoints) > 0 && len(addresses) == 0 {
		return r.addressesNoLongerShown(backend.SetControlPlane)
	}
	return addresses
}

// sharedBy returns the addresses that a node shares with other nodes. A shared address lets
// in no sender, except for the node's own connections to itself.
func (r *hostResolver) sharedBy(node *corev1.Node) []netip.Addr {
	return slices.DeleteFunc(state.NodeAddresses(node), func(a netip.Addr) bool { return slices.Contains(r.OfNode(node.Name), a) })
}

func (r *hostResolver) resolveComponent(component v1alpha1.Component) backend.Component {
	out := backend.Component{
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
			out.From = append(out.From, r.sourcesOfRole(profile.Role(reference.Role))...)
			continue
		}
		out.From = append(out.From, backend.Source{Prefixes: r.networksOfPeers(func(p v1alpha1.Peer) bool { return p.Name == reference.Peer })})
	}
	return out
}

// flowsToHosts returns the profile's flows that arrive at nodes and that the policy could cut: the
// required flows, or all other flows.
func (r *hostResolver) flowsToHosts(hosts backend.Hosts, required bool) []backend.Flow {
	var flows []backend.Flow
	for _, flow := range r.profile.Flows {
		if flow.Required != required || !comesFromOthers(flow) || r.isTranslated(flow) ||
			!hosts.DenyUnlisted && !restrictsFlow(hosts, flow) {
			continue
		}
		from := r.sourcesOfRoles(flow.From)
		if len(from) == 0 {
			continue // the policy gives the role no addresses
		}
		flows = append(flows, backend.Flow{Name: flow.Name, From: from, Destinations: flow.Destinations, Traffic: flow.Traffic})
	}
	return flows
}

// isTranslated tells whether the flow is redirected to pods before a host's policy sees the
// flow.
func (r *hostResolver) isTranslated(flow profile.Flow) bool {
	component, _ := r.profile.FindComponent(flow.Component)
	return component.Translated
}

func restrictsFlow(hosts backend.Hosts, flow profile.Flow) bool {
	return slices.ContainsFunc(hosts.Components, func(c backend.Component) bool {
		return slices.ContainsFunc(c.Ports, func(a profile.Traffic) bool {
			return slices.ContainsFunc(flow.Traffic, a.Overlaps)
		})
	})
}

// sourcesOfRoles returns the sources of several roles.
func (r *hostResolver) sourcesOfRoles(roles []profile.Role) []backend.Source {
	var sources []backend.Source
	for _, role := range roles {
		sources = append(sources, r.sourcesOfRole(role)...)
	}
	return sources
}

// sourcesOfRole returns the sources of a role: addresses found in the cluster, and addresses that
// peers add. The role Self needs no source.
func (r *hostResolver) sourcesOfRole(role profile.Role) []backend.Source {
	switch role {
	case profile.RoleControlPlane:
		return r.sourcesInCluster(backend.SetControlPlane, v1alpha1.ExternalControlPlane)
	case profile.RoleNodes:
		return r.sourcesInCluster(backend.SetNodes, v1alpha1.ExternalNodes, v1alpha1.ExternalControlPlane)
	case profile.RolePods:
		return r.sourcesInCluster(backend.SetPods, v1alpha1.ExternalPods)
	case profile.RoleAny:
		return []backend.Source{{}}
	case profile.RoleSelf:
		return nil
	default:
		return staticSources(r.networksWithRole(v1alpha1.ExternalRole(role)))
	}
}

// sourcesInCluster returns the sources of a role that follows the cluster.
func (r *hostResolver) sourcesInCluster(set string, external ...v1alpha1.ExternalRole) []backend.Source {
	var prefixes []netip.Prefix
	for _, role := range external {
		prefixes = append(prefixes, r.networksWithRole(role)...)
	}
	sources := staticSources(prefixes)
	if len(sources) == 0 || len(r.membersOf(set)) > 0 {
		sources = append([]backend.Source{r.referToSet(set)}, sources...)
	}
	return sources
}

func staticSources(prefixes []netip.Prefix) []backend.Source {
	if len(prefixes) == 0 {
		return nil
	}
	return []backend.Source{{Prefixes: prefixes}}
}

// networksWithRole returns the networks of the peers with the role.
func (r *hostResolver) networksWithRole(role v1alpha1.ExternalRole) []netip.Prefix {
	return r.networksOfPeers(func(p v1alpha1.Peer) bool { return p.Role == role })
}

func (r *hostResolver) networksOfPeers(wanted func(v1alpha1.Peer) bool) []netip.Prefix {
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
