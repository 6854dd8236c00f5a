// SPDX-License-Identifier: Apache-2.0

package state

import (
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cpnp-dev/cpnp-operator/internal/profile"
)

// Tunnels are the networks that the overlay devices of nodes have addresses of, as far
// as Calico's pools and Cilium's settings say so, and Node.spec. A kubelet can write the
// annotations with these addresses, and none of the others. The zero value knows none.
type Tunnels struct {
	// Calico are its pools, Cilium those of the cluster.
	Calico, Cilium []netip.Prefix
	// CiliumPerNode says that Cilium uses each node's spec.podCIDRs.
	CiliumPerNode bool
}

// tunnelsOf returns what is known of a cluster. Pools that are disabled count: nodes may
// still have addresses of them.
func tunnelsOf(calico Calico, configMaps map[types.NamespacedName]map[string]string) Tunnels {
	var t Tunnels
	for i := range calico.Pools {
		t.Calico = appendPrefix(t.Calico, calico.Pools[i].Spec.CIDR)
	}
	pods := profile.Pods(profile.Facts{ConfigMaps: configMaps}, "cilium")
	for _, cidr := range pods.CIDRs {
		t.Cilium = appendPrefix(t.Cilium, cidr)
	}
	t.CiliumPerNode = pods.From == profile.FromPodCIDRs
	return t
}

func appendPrefix(to []netip.Prefix, text string) []netip.Prefix {
	if prefix, err := netip.ParsePrefix(text); err == nil {
		return append(to, prefix.Masked())
	}
	return to
}

// outside returns the addresses that a node notes of its overlay devices, and nowhere
// else, and that lie in no network of theirs. Where none of the family is known, nothing
// can be said.
func (t Tunnels) outside(node *corev1.Node) []netip.Addr {
	var found []netip.Addr
	for _, key := range tunnelAnnotations {
		address, err := netip.ParseAddr(node.Annotations[key])
		if err != nil {
			continue
		}
		address = address.Unmap().WithZone("")
		known := slices.DeleteFunc(slices.Clone(t.of(key, node)), func(p netip.Prefix) bool { return p.Addr().Is4() != address.Is4() })
		contains := func(p netip.Prefix) bool { return p.Contains(address) }
		if len(known) > 0 && !slices.ContainsFunc(known, contains) && !slices.Contains(shownAddresses(node), address) {
			found = append(found, address)
		}
	}
	return found
}

// of returns the networks that an annotation's address can be of.
func (t Tunnels) of(annotation string, node *corev1.Node) (networks []netip.Prefix) {
	switch {
	case strings.HasPrefix(annotation, "projectcalico.org/"):
		return t.Calico
	case !t.CiliumPerNode:
		return t.Cilium
	}
	for _, cidr := range node.Spec.PodCIDRs {
		networks = appendPrefix(networks, cidr)
	}
	return networks
}
