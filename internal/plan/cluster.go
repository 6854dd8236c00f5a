// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// addressBook knows the addresses of the cluster's nodes and API servers. NetworkPolicies
// and host rules use the same addressBook, so a role has the same addresses in both.
type addressBook struct {
	policy *Policy
	nodes  []*corev1.Node
	state.Addresses
	// labelled tells whether any node has a label of the control plane.
	labelled bool
	// servers are the sorted addresses of API servers, present and recently missing. A missing
	// API server keeps its place because, once shut out, the API server could not come back.
	servers []netip.Addr
}

func newAddressBook(policy *Policy, snapshot state.Snapshot) addressBook {
	book := addressBook{policy: policy, nodes: snapshot.Nodes, Addresses: snapshot.Addresses()}
	book.labelled = slices.ContainsFunc(snapshot.Nodes, state.IsControlPlaneNode)
	for _, server := range KnownAPIServers(policy, snapshot) {
		if address, err := netip.ParseAddr(server.Address); err == nil {
			book.servers = append(book.servers, address)
		}
	}
	slices.SortFunc(book.servers, netip.Addr.Compare)
	return book
}

// ofControlPlane tells whether a node belongs to the control plane: by its label, or
// because the policy selects the node, or, in a cluster without labelled nodes, because an
// API server has an address of the node. A policy for some control-plane nodes must not
// shut out the others.
func (b addressBook) ofControlPlane(node *corev1.Node) bool {
	return b.policy.SelectsNode(node) || state.IsControlPlaneNode(node) || b.hasAPIServerAddress(node)
}

// hasAPIServerAddress tells whether an API server has an address of the node, in a cluster without
// labelled control-plane nodes. In other clusters an address proves no role: a kubelet can
// show any address, and would get all other addresses of its node let in. The address of
// the API server is let in without the node.
func (b addressBook) hasAPIServerAddress(node *corev1.Node) bool {
	return !b.labelled && slices.ContainsFunc(b.OfNode(node.Name), func(a netip.Addr) bool {
		_, is := slices.BinarySearchFunc(b.servers, a, netip.Addr.Compare)
		return is
	})
}

// addressesWithServers returns the addresses of the concerned nodes and of all API servers.
// silent tells that there are concerned nodes, and no address of a concerned node is known.
func (b addressBook) addressesWithServers(concerned func(*corev1.Node) bool) (addresses []netip.Addr, silent bool) {
	for i := range b.nodes {
		if node := b.nodes[i]; concerned(node) {
			silent = true
			addresses = append(addresses, b.OfNode(node.Name)...)
		}
	}
	if silent && len(addresses) == 0 {
		return nil, true
	}
	return append(addresses, b.servers...), false
}

// findServersWithoutNode returns the sorted addresses of API servers that identify no node.
func (b addressBook) findServersWithoutNode() []netip.Addr {
	shown := map[netip.Addr]bool{}
	for i := range b.nodes {
		for _, address := range b.OfNode(b.nodes[i].Name) {
			shown[address] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(b.servers), func(a netip.Addr) bool { return shown[a] })
}

// unidentifiedNodes returns the concerned nodes that show addresses, but no address that
// identifies the node.
func (b addressBook) unidentifiedNodes(concerned func(*corev1.Node) bool) []string {
	var names []string
	for _, node := range b.nodes {
		if concerned(node) && len(b.OfNode(node.Name)) == 0 && len(state.NodeAddresses(node)) > 0 {
			names = append(names, node.Name)
		}
	}
	return names
}

// explainSharedAddresses returns the message about nodes that share all addresses with other nodes,
// and how to correct them.
func (b addressBook) explainSharedAddresses(names []string) string {
	return fmt.Sprintf("every address of %s is shown by other nodes as well (%s), so that it identifies none of them: "+
		"give each node an address of its own, such as with --node-ip of its kubelet, or delete a Node that is gone",
		wording.ListNames(names), wording.ListNames(addressTexts(b.SharedAddresses())))
}

// outsideTunnels returns a note about addresses of overlay devices in annotations of nodes
// that no network of the pods confirms.
func (b addressBook) outsideTunnels() []string {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(b.OutsideOverlay())) {
		lines = append(lines, name+": "+wording.ListNames(addressTexts(b.OutsideOverlay()[name])))
	}
	if len(lines) == 0 {
		return nil
	}
	return []string{"these addresses, which nodes note of their tunnels, lie in no network of the pods " +
		"(Calico's IPPools, or Cilium's settings), and are let in nowhere: " + wording.ListPoints(lines) +
		". See who wrote the annotations of these nodes; if they are right, add the network to a peer"}
}

func addressTexts(addresses []netip.Addr) []string {
	out := make([]string, 0, len(addresses))
	for _, address := range addresses {
		out = append(out, address.String())
	}
	return out
}
