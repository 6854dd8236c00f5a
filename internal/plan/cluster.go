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

// addressBook says which addresses the cluster's nodes and API servers have. What
// a role stands for is the same in NetworkPolicies and on hosts because both ask it.
type addressBook struct {
	policy *Policy
	nodes  []corev1.Node
	state.Addresses
	// labelled says that some node is labelled as of the control plane.
	labelled bool
	// servers are those of API servers: of those that there are, and of those that
	// there were not long ago. One that is down could not come back if it were shut
	// out. Sorted.
	servers []netip.Addr
}

func newAddressBook(policy *Policy, snapshot state.Snapshot) addressBook {
	book := addressBook{policy: policy, nodes: snapshot.Nodes, Addresses: snapshot.Addresses()}
	book.labelled = slices.ContainsFunc(snapshot.Nodes, func(n corev1.Node) bool { return state.IsControlPlaneNode(&n) })
	for _, server := range APIServers(policy, snapshot) {
		if address, err := netip.ParseAddr(server.Address); err == nil {
			book.servers = append(book.servers, address)
		}
	}
	slices.SortFunc(book.servers, netip.Addr.Compare)
	return book
}

// ofControlPlane says whether a node is of the control plane: it is labelled so, or
// the policy is for it; and where no node is labelled, an API server has its address.
// A policy for some of these nodes must not shut out others.
func (b addressBook) ofControlPlane(node *corev1.Node) bool {
	return b.policy.Selects(node) || state.IsControlPlaneNode(node) || b.serves(node)
}

// serves says whether an API server has an address of a node, in a cluster in which
// no node is labelled as of the control plane. Elsewhere an address proves nothing: a
// kubelet can show any, and would let in all the others of its node. What an API
// server has is let in by itself.
func (b addressBook) serves(node *corev1.Node) bool {
	return !b.labelled && slices.ContainsFunc(b.OfNode(node.Name), func(a netip.Addr) bool {
		_, is := slices.BinarySearchFunc(b.servers, a, netip.Addr.Compare)
		return is
	})
}

// of returns the addresses of nodes, and those of all API servers; or that there are
// such nodes and none of them shows an address.
func (b addressBook) of(concerned func(*corev1.Node) bool) (addresses []netip.Addr, silent bool) {
	for i := range b.nodes {
		if node := &b.nodes[i]; concerned(node) {
			silent = true
			addresses = append(addresses, b.OfNode(node.Name)...)
		}
	}
	if silent && len(addresses) == 0 {
		return nil, true
	}
	return append(addresses, b.servers...), false
}

// hidden returns the addresses of API servers that identify no node, sorted.
func (b addressBook) hidden() []netip.Addr {
	shown := map[netip.Addr]bool{}
	for i := range b.nodes {
		for _, address := range b.OfNode(b.nodes[i].Name) {
			shown[address] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(b.servers), func(a netip.Addr) bool { return shown[a] })
}

// anonymous returns the nodes that no address identifies, although they show some.
func (b addressBook) anonymous(concerned func(*corev1.Node) bool) []string {
	var names []string
	for i := range b.nodes {
		node := &b.nodes[i]
		if concerned(node) && len(b.OfNode(node.Name)) == 0 && len(state.NodeAddresses(node)) > 0 {
			names = append(names, node.Name)
		}
	}
	return names
}

// unidentified says what to do about nodes of which every address is another node's
// too.
func (b addressBook) unidentified(names []string) string {
	return fmt.Sprintf("every address of %s is shown by other nodes as well (%s), so that it identifies none of them: "+
		"give each node an address of its own, such as with --node-ip of its kubelet, or delete a Node that is gone",
		wording.ListNames(names), wording.ListNames(texts(b.SharedAddresses())))
}

// outsideTunnels tells of addresses that nodes note of their overlay devices, and that
// nothing else confirms.
func (b addressBook) outsideTunnels() []string {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(b.OutsideOverlay())) {
		lines = append(lines, name+": "+wording.ListNames(texts(b.OutsideOverlay()[name])))
	}
	if len(lines) == 0 {
		return nil
	}
	return []string{"these addresses, which nodes note of their tunnels, lie in no network of the pods " +
		"(Calico's IPPools, or Cilium's settings), and are let in nowhere: " + wording.ListPoints(lines) +
		". See who wrote the annotations of these nodes; if they are right, add the network to a peer"}
}

func texts(addresses []netip.Addr) []string {
	out := make([]string, 0, len(addresses))
	for _, address := range addresses {
		out = append(out, address.String())
	}
	return out
}
