// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"errors"
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

// resolver turns roles and the names of peers into addresses. What the roles
// stand for is put together once, however many components refer to them.
type resolver struct {
	named               map[string][]v1alpha1.CIDR
	controlPlane, nodes *netipx.IPSet
	err                 error // of putting them together
}

func newResolver(policy *Policy, nodes []corev1.Node) *resolver {
	r := &resolver{named: map[string][]v1alpha1.CIDR{}}
	for _, peer := range policy.Spec.Network.Peers {
		r.named[peer.Name] = peer.CIDRs
	}
	var controlPlane, all netipx.IPSetBuilder
	for i := range nodes {
		controls := ofControlPlane(policy, &nodes[i])
		for _, address := range state.NodeAddresses(&nodes[i]) {
			all.Add(address)
			if controls {
				controlPlane.Add(address)
			}
		}
	}
	var errControlPlane, errNodes error
	r.controlPlane, errControlPlane = controlPlane.IPSet()
	r.nodes, errNodes = all.IPSet()
	r.err = errors.Join(errControlPlane, errNodes)
	return r
}

// resolve returns the peers that references stand for.
func (r *resolver) resolve(references ...v1alpha1.PeerReference) (Peers, error) {
	if r.err != nil {
		return Peers{}, fmt.Errorf("joining the addresses of nodes: %w", r.err)
	}
	var peers Peers
	var set netipx.IPSetBuilder
	for _, reference := range references {
		switch reference.Role {
		case v1alpha1.RolePods:
			peers.Pods = true
		case v1alpha1.RoleControlPlane:
			set.AddSet(r.controlPlane)
		case v1alpha1.RoleNodes:
			set.AddSet(r.nodes)
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
