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

// resolver turns roles and the names of peers into addresses.
type resolver struct {
	named               map[string][]v1alpha1.CIDR
	controlPlane, nodes []netip.Addr
}

func newResolver(policy *Policy, nodes []corev1.Node) *resolver {
	r := &resolver{named: map[string][]v1alpha1.CIDR{}}
	for _, peer := range policy.Spec.Network.Peers {
		r.named[peer.Name] = peer.CIDRs
	}
	for i := range nodes {
		addresses := state.NodeAddresses(&nodes[i])
		r.nodes = append(r.nodes, addresses...)
		if policy.Selects(&nodes[i]) {
			r.controlPlane = append(r.controlPlane, addresses...)
		}
	}
	return r
}

// resolve returns the peers that a reference stands for.
func (r *resolver) resolve(references ...v1alpha1.PeerReference) (Peers, error) {
	var peers Peers
	var set netipx.IPSetBuilder
	for _, reference := range references {
		switch reference.Role {
		case v1alpha1.RolePods:
			peers.Pods = true
		case v1alpha1.RoleControlPlane:
			addAll(&set, r.controlPlane)
		case v1alpha1.RoleNodes:
			addAll(&set, r.nodes)
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

func addAll(set *netipx.IPSetBuilder, addresses []netip.Addr) {
	for _, address := range addresses {
		set.Add(address)
	}
}
