// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"net/netip"

	"go4.org/netipx"
	corev1 "k8s.io/api/core/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// Peers are the addresses and pods on the other side of a connection.
type Peers struct {
	// Prefixes are the sorted networks of the peers, in the shortest list that covers exactly
	// the peers' addresses.
	Prefixes []netip.Prefix
	// Pods tells that the peers include every pod of the cluster.
	Pods bool
}

// IsEmpty tells that the peers have no address. A rule for no peer is never rendered.
func (p Peers) IsEmpty() bool { return len(p.Prefixes) == 0 && !p.Pods }

// resolver turns roles and peers' names into addresses. The addresses of a role are
// collected once, when the first component refers to the role: the collection takes longer
// than all other work, and most policies refer to one role only.
type resolver struct {
	policy   *Policy
	snapshot state.Snapshot
	book     *addressBook // nil until a role is asked for
	roles    map[v1alpha1.PeerRole]*netipx.IPSet
}

func newResolver(policy *Policy, snapshot state.Snapshot) *resolver {
	return &resolver{policy: policy, snapshot: snapshot, roles: map[v1alpha1.PeerRole]*netipx.IPSet{}}
}

// addressesOfRole returns the addresses of a role's nodes, of API servers, and of peers with
// the role. The result is empty while no node of the role shows an address. A node that shares
// all addresses with other nodes is an error.
func (r *resolver) addressesOfRole(role v1alpha1.PeerRole) (*netipx.IPSet, error) {
	if set, known := r.roles[role]; known {
		return set, nil
	}
	if r.book == nil {
		book := newAddressBook(r.policy, r.snapshot)
		r.book = &book
	}
	concerned := func(node *corev1.Node) bool { return role == v1alpha1.RoleNodes || r.book.ofControlPlane(node) }
	if names := r.book.unidentifiedNodes(concerned); len(names) > 0 {
		return nil, held{v1alpha1.ReasonAddressesUnknown, r.book.explainSharedAddresses(names)}
	}
	var all netipx.IPSetBuilder
	addresses, silent := r.book.addressesWithServers(concerned)
	if silent {
		r.roles[role] = &netipx.IPSet{}
		return r.roles[role], nil
	}
	for _, address := range addresses {
		all.Add(address)
	}
	if err := r.addRole(&all, role); err != nil {
		return nil, err
	}
	set, err := all.IPSet()
	if err != nil {
		return nil, fmt.Errorf("joining the addresses of nodes: %w", err)
	}
	r.roles[role] = set
	return set, nil
}

// addRole adds the addresses of peers with the role.
func (r *resolver) addRole(set *netipx.IPSetBuilder, role v1alpha1.PeerRole) error {
	for _, peer := range r.policy.Spec.Network.Peers {
		if peer.Role == v1alpha1.ExternalControlPlane || peer.Role == v1alpha1.ExternalNodes && role == v1alpha1.RoleNodes {
			if err := addPeer(set, peer); err != nil {
				return err
			}
		}
	}
	return nil
}

func addPeer(set *netipx.IPSetBuilder, peer v1alpha1.Peer) error {
	for _, cidr := range peer.CIDRs {
		prefix, err := netip.ParsePrefix(string(cidr))
		if err != nil {
			return fmt.Errorf("peer %s: %w", peer.Name, err)
		}
		set.AddPrefix(prefix)
	}
	return nil
}

// resolvePeers returns the peers for some references.
func (r *resolver) resolvePeers(references ...v1alpha1.PeerReference) (Peers, error) {
	var peers Peers
	var set netipx.IPSetBuilder
	for _, reference := range references {
		switch reference.Role {
		case v1alpha1.RolePods:
			peers.Pods = true
		case v1alpha1.RoleControlPlane, v1alpha1.RoleNodes:
			nodes, err := r.addressesOfRole(reference.Role)
			if err != nil {
				return Peers{}, err
			}
			set.AddSet(nodes)
		}
		for _, peer := range r.policy.Spec.Network.Peers {
			if reference.Peer != "" && peer.Name == reference.Peer {
				if err := addPeer(&set, peer); err != nil {
					return Peers{}, err
				}
			}
		}
	}
	union, err := set.IPSet()
	if err != nil {
		return Peers{}, fmt.Errorf("joining addresses: %w", err)
	}
	peers.Prefixes = union.Prefixes()
	return peers, nil
}

// held is the refusal to render, with the reason of the condition Verified.
type held struct{ reason, why string }

func (h held) Error() string { return h.why }
