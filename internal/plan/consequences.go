// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// notesOnShutOutSenders returns notes about machines and addresses that the policy shuts out
// because the cluster does not show the addresses. Each note ends with the line to add for
// letting the senders in; with the line in the spec, the note disappears.
func (r *hostResolver) notesOnShutOutSenders(hosts backend.Hosts) []string {
	notes := []string{
		r.policy.selfSelected(), r.joiningMembers(hosts), r.joiningNodes(hosts),
		r.secondNetwork(hosts), r.moreIPv6(hosts), r.tunnelUnlisted(hosts),
	}
	return slices.DeleteFunc(notes, func(note string) bool { return note == "" })
}

// closesComponent tells whether the policy limits who reaches the component, at one port at least
// where no open failsafe port of Felix lets in all senders.
func (r *hostResolver) closesComponent(hosts backend.Hosts, name string) bool {
	component, _ := r.profile.FindComponent(name)
	closed := slices.DeleteFunc(slices.Clone(component.Traffic), func(t profile.Traffic) bool {
		restrictedHere := hosts.DenyUnlisted || restrictsFlow(hosts, profile.Flow{Traffic: []profile.Traffic{t}})
		return !restrictedHere || r.isOpenFailsafe(hosts, t)
	})
	return len(closed) > 0
}

// isOpenFailsafe tells whether a failsafe port lets in all senders for all of the traffic.
func (r *hostResolver) isOpenFailsafe(hosts backend.Hosts, t profile.Traffic) bool {
	ports := r.live.FailsafesInForce(hosts)
	if hosts.ScopeFailsafes {
		ports, _ = r.live.ScopeFailsafes(hosts)
	}
	for _, port := range ports {
		if port.Net == "" && port.Traffic().Covers(t) {
			return true
		}
	}
	return false
}

// joiningMembers returns a note about machines that join etcd. Before the join, such a
// machine does not count as control plane: kubeadm sets the label, and RKE2 creates the
// Node, after the join.
func (r *hostResolver) joiningMembers(hosts backend.Hosts) string {
	const etcd = "etcd"
	if !r.closesComponent(hosts, etcd) || r.letsInNetworks(hosts, etcd, v1alpha1.ExternalControlPlane) {
		return ""
	}
	return "a machine that joins the control plane must reach etcd before its Node has the control-plane label, and is denied until then: " +
		"before machines join, add their network to spec.network.peers, such as " +
		r.renderPeerLine("joining-control-plane", v1alpha1.ExternalControlPlane, r.networksOf(r.shownBy(isControlPlane)))
}

// joiningNodes returns a note about machines without a Node. A machine must reach an API
// server to register its Node.
func (r *hostResolver) joiningNodes(hosts backend.Hosts) string {
	if !r.closesComponent(hosts, profile.ComponentAPIServer) ||
		r.letsInNetworks(hosts, profile.ComponentAPIServer, v1alpha1.ExternalNodes, v1alpha1.ExternalControlPlane) {
		return ""
	}
	return "a machine that joins the cluster has no Node yet, and may not connect to the API server: before machines join, " +
		"add their network, such as " +
		r.renderPeerLine("joining", v1alpha1.ExternalNodes, r.networksOf(r.shownBy(func(*corev1.Node) bool { return true })))
}

// letsInNetworks tells whether the component admits whole networks and not only single
// addresses: networks of a peer with one of the roles, or networks with an address of each
// control-plane node.
func (r *hostResolver) letsInNetworks(hosts backend.Hosts, component string, roles ...v1alpha1.ExternalRole) bool {
	if slices.ContainsFunc(roles, func(role v1alpha1.ExternalRole) bool { return slices.ContainsFunc(r.networksWithRole(role), isNetwork) }) {
		return true
	}
	program, _ := r.profile.FindComponent(component)
	for _, c := range hosts.Components {
		overlaps := func(t profile.Traffic) bool { return slices.ContainsFunc(program.Traffic, t.Overlaps) }
		if !slices.ContainsFunc(c.Ports, overlaps) {
			continue
		}
		for _, source := range c.From {
			if source.Set == "" && len(source.Prefixes) == 0 || slices.ContainsFunc(source.Prefixes, r.holdsControlPlane) {
				return true
			}
		}
	}
	return false
}

// holdsControlPlane tells whether every control-plane node has an address in the network.
func (r *hostResolver) holdsControlPlane(network netip.Prefix) bool {
	return isNetwork(network) && r.silentIn(network) == 0
}

// secondNetwork returns a note about networks with addresses of the control plane and of no
// worker. A worker with an address there sends from that address to an API server there.
func (r *hostResolver) secondNetwork(hosts backend.Hosts) string {
	if !r.closesComponent(hosts, profile.ComponentAPIServer) {
		return ""
	}
	workers := r.networksOf(r.shownBy(isWorker))
	if len(workers) == 0 {
		return ""
	}
	lone := slices.DeleteFunc(r.networksOfControlPlane(workers), func(n netip.Prefix) bool {
		family := func(w netip.Prefix) bool { return w.Addr().Is4() == n.Addr().Is4() }
		return !slices.ContainsFunc(workers, family) || slices.ContainsFunc(workers, n.Overlaps) ||
			r.peersCover(n, v1alpha1.ExternalNodes, v1alpha1.ExternalControlPlane)
	})
	if len(lone) == 0 {
		return ""
	}
	return "the control plane has addresses in " + listNetworks(lone) + ", and no worker shows an address there: " +
		"connections of workers from this network are denied. If workers have addresses there, add " +
		r.renderPeerLine("workers-second-network", v1alpha1.ExternalNodes, lone)
}

// networksOfControlPlane returns the networks of API servers, and the networks of
// control-plane nodes that share a network with workers.
func (r *hostResolver) networksOfControlPlane(workers []netip.Prefix) []netip.Prefix {
	networks := r.networksOf(r.servers)
	for _, node := range r.snapshot.Nodes {
		own := r.networksOf(r.internalAddresses(node))
		if !isWorker(node) && slices.ContainsFunc(own, func(n netip.Prefix) bool { return slices.Contains(workers, n) }) {
			networks = append(networks, own...)
		}
	}
	slices.SortFunc(networks, netip.Prefix.Compare)
	return slices.Compact(networks)
}

// moreIPv6 returns a note about the additional IPv6 addresses of nodes (SLAAC, temporary
// addresses). The kubelet shows only one IPv6 address.
func (r *hostResolver) moreIPv6(hosts backend.Hosts) string {
	name, role, is := "nodes-ipv6", v1alpha1.ExternalNodes, func(*corev1.Node) bool { return true }
	switch {
	case r.closesComponent(hosts, profile.ComponentAPIServer):
	case r.closesComponent(hosts, "etcd") || r.closesComponent(hosts, "kubelet"):
		name, role, is = "control-plane-ipv6", v1alpha1.ExternalControlPlane, isControlPlane
	default:
		return ""
	}
	networks := slices.DeleteFunc(r.networksOf(r.shownBy(is)), func(n netip.Prefix) bool {
		return n.Addr().Is4() || r.peersCover(n, v1alpha1.ExternalNodes, v1alpha1.ExternalControlPlane)
	})
	if len(networks) == 0 {
		return ""
	}
	return "nodes show one IPv6 address each, and connections from their other IPv6 addresses (SLAAC, temporary addresses) are denied: " +
		"turn these off (net.ipv6.conf.all.use_tempaddr=0), or add " + r.renderPeerLine(name, role, networks)
}

// overlays are the networks from which VPNs give addresses to nodes: shared address space
// (RFC 6598), used by Tailscale and NetBird, and Tailscale's IPv6 network.
var overlays = []netip.Prefix{netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("fd7a:115c:a1e0::/48")}

// tunnelUnlisted returns a note about the outer packets of a VPN's tunnel, because no Node
// shows their source addresses.
func (r *hostResolver) tunnelUnlisted(hosts backend.Hosts) string {
	var networks []netip.Prefix
	for _, overlay := range overlays {
		if slices.ContainsFunc(r.shownBy(func(*corev1.Node) bool { return true }), overlay.Contains) {
			networks = append(networks, overlay)
		}
	}
	if len(networks) == 0 || !hosts.DenyUnlisted || r.listsUDP(hosts) {
		return ""
	}
	return "nodes have addresses in " + listNetworks(networks) + ", as of a VPN (Tailscale, NetBird): " +
		"the tunnel's own packets come from other addresses, and are denied. If there is a VPN, add to spec.profile.flows " +
		"{name: vpn-tunnel, from: [Any], to: Nodes, traffic: [udp/41641]} with its port (udp/51820 of NetBird and WireGuard)"
}

// listsUDP tells whether the policy itself lets in UDP at nodes.
func (r *hostResolver) listsUDP(hosts backend.Hosts) bool {
	udp := func(t profile.Traffic) bool { return t.Protocol == profile.UDP || t.Protocol == "" }
	return slices.ContainsFunc(hosts.Components, func(c backend.Component) bool { return slices.ContainsFunc(c.Ports, udp) }) ||
		slices.ContainsFunc(r.profile.Flows, func(f profile.Flow) bool {
			return f.Layer == profile.Added && f.ArrivesAtNode() && slices.ContainsFunc(f.Traffic, udp)
		})
}

// peersCover tells whether a peer with one of the roles covers the network.
func (r *hostResolver) peersCover(network netip.Prefix, roles ...v1alpha1.ExternalRole) bool {
	return slices.ContainsFunc(roles, func(role v1alpha1.ExternalRole) bool {
		return slices.ContainsFunc(r.networksWithRole(role), func(p netip.Prefix) bool {
			return p.Bits() <= network.Bits() && p.Overlaps(network)
		})
	})
}

func isNetwork(p netip.Prefix) bool { return !p.IsSingleIP() }

func isControlPlane(node *corev1.Node) bool { return state.IsControlPlaneNode(node) }

func isWorker(node *corev1.Node) bool { return !state.IsControlPlaneNode(node) }

// shownBy returns the internal addresses of the nodes that fulfil the condition.
func (r *hostResolver) shownBy(is func(*corev1.Node) bool) []netip.Addr {
	var addresses []netip.Addr
	for i := range r.snapshot.Nodes {
		if node := r.snapshot.Nodes[i]; is(node) {
			addresses = append(addresses, r.internalAddresses(node)...)
		}
	}
	return addresses
}

// internalAddresses returns the internal addresses of a node. An address that several nodes show
// identifies no node and is left out.
func (r *hostResolver) internalAddresses(node *corev1.Node) []netip.Addr {
	var addresses []netip.Addr
	for _, a := range node.Status.Addresses {
		if address, err := netip.ParseAddr(a.Address); err == nil && a.Type == corev1.NodeInternalIP {
			if address = address.Unmap().WithZone(""); r.shown[address] {
				addresses = append(addresses, address)
			}
		}
	}
	return addresses
}

// networksOf returns the sorted networks around the addresses: /24 for IPv4 and /64 for
// IPv6, the usual prefix lengths, because a Node does not show its prefix length.
func (r *hostResolver) networksOf(addresses []netip.Addr) []netip.Prefix {
	known := map[netip.Prefix]bool{}
	for _, address := range addresses {
		bits := 64
		if address.Is4() {
			bits = 24
		}
		if network, err := address.Prefix(bits); err == nil {
			known[network] = true
		}
	}
	return slices.SortedFunc(maps.Keys(known), netip.Prefix.Compare)
}

// renderPeerLine renders a line of spec.network.peers.
func (r *hostResolver) renderPeerLine(name string, role v1alpha1.ExternalRole, networks []netip.Prefix) string {
	return fmt.Sprintf("{name: %s, role: %s, cidrs: [%s]}", name, role, listNetworks(networks))
}

// listNetworks names at most three networks. For more networks an administrator has to find a
// common prefix.
func listNetworks(networks []netip.Prefix) string {
	const most = 3
	names := make([]string, 0, most)
	for _, network := range networks[:min(most, len(networks))] {
		text := network.String()
		if network.Addr().Is6() {
			text = `"` + text + `"`
		}
		names = append(names, text)
	}
	return strings.Join(names, ", ")
}
