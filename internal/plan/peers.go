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

// Peers is who may be on the other side of a connection.
type Peers struct {
	// Prefixes are their networks, as few as cover exactly them, sorted.
	Prefixes []netip.Prefix
	// Pods says that every pod of the cluster is among them.
	Pods bool
}

// Empty says that there is nobody. A rule for nobody is never rendered.
func (p Peers) Empty() bool { return len(p.Prefixes) == 0 && !p.Pods }

// resolver turns roles and the names of peers into addresses. What a role stands
// for is put together once, when a component first refers to it: that takes longer
// than everything else, and most policies refer to one.
type resolver struct {
	policy *Policy
	nodes  []corev1.Node
	named  map[string][]v1alpha1.CIDR
	roles  map[v1alpha1.PeerRole]*netipx.IPSet
}

func newResolver(policy *Policy, nodes []corev1.Node) *resolver {
	r := &resolver{policy: policy, nodes: nodes, named: map[string][]v1alpha1.CIDR{}, roles: map[v1alpha1.PeerRole]*netipx.IPSet{}}
	for _, peer := range policy.Spec.Network.Peers {
		r.named[peer.Name] = peer.CIDRs
	}
	return r
}

// role returns the addresses of the nodes of a role.
func (r *resolver) role(role v1alpha1.PeerRole) (*netipx.IPSet, error) {
	if set, known := r.roles[role]; known {
		return set, nil
	}
	var all netipx.IPSetBuilder
	for i := range r.nodes {
		if role == v1alpha1.RoleControlPlane && !ofControlPlane(r.policy, &r.nodes[i]) {
			continue
		}
		for _, address := range state.NodeAddresses(&r.nodes[i]) {
			all.Add(address)
		}
	}
	set, err := all.IPSet()
	if err != nil {
		return nil, fmt.Errorf("joining the addresses of nodes: %w", err)
	}
	r.roles[role] = set
	return set, nil
}

// resolve returns the peers that references stand for.
func (r *resolver) resolve(references ...v1alpha1.PeerReference) (Peers, error) {
	var peers Peers
	var set netipx.IPSetBuilder
	for _, reference := range references {
		switch reference.Role {
		case v1alpha1.RolePods:
			peers.Pods = true
		case v1alpha1.RoleControlPlane, v1alpha1.RoleNodes:
			nodes, err := r.role(reference.Role)
			if err != nil {
				return Peers{}, err
			}
			set.AddSet(nodes)
		}
		for _, cidr := range r.named[reference.Peer] {
			prefix, err := netip.ParsePrefix(string(cidr))
			if err != nil {
				return Peers{}, fmt.Errorf("peer %s: %w", reference.Peer, err)
			}
			set.AddPrefix(prefix)
		}
	}
	union, err := set.IPSet()
	if err != nil {
		return Peers{}, fmt.Errorf("joining addresses: %w", err)
	}
	peers.Prefixes = union.Prefixes()
	return peers, nil
}
