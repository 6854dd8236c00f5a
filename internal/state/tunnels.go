// SPDX-License-Identifier: Apache-2.0

package state

import (
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
)

// Tunnels are the networks of the overlay devices of nodes, as known from Calico's
// pools, Cilium's settings and Node.spec. A kubelet can write the annotations with the
// addresses of the devices, but none of these sources. The zero value knows no network.
type Tunnels struct {
	// Calico are the pools of Calico, and Cilium are the networks of Cilium for the
	// whole cluster.
	Calico, Cilium []netip.Prefix
	// CiliumPerNode says whether Cilium uses spec.podCIDRs of each node.
	CiliumPerNode bool
}

// tunnelsOf returns the known networks of a cluster. Disabled pools count: nodes may
// still have addresses of disabled pools.
func tunnelsOf(live backend.Live, configMaps map[types.NamespacedName]map[string]string) Tunnels {
	t := Tunnels{Calico: live.PodNetworks()}
	pods := profile.DetectPodNetworks(profile.Facts{ConfigMaps: configMaps}, "cilium")
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

// addressesOutside returns the addresses that a node notes only for overlay devices and no
// known overlay network contains. Without a known network of the IP version, an address
// counts as inside.
func (t Tunnels) addressesOutside(node *corev1.Node) []netip.Addr {
	var found []netip.Addr
	for _, key := range tunnelAnnotations {
		address, err := netip.ParseAddr(node.Annotations[key])
		if err != nil {
			continue
		}
		address = address.Unmap().WithZone("")
		known := slices.DeleteFunc(slices.Clone(t.networksFor(key, node)), func(p netip.Prefix) bool { return p.Addr().Is4() != address.Is4() })
		contains := func(p netip.Prefix) bool { return p.Contains(address) }
		if len(known) > 0 && !slices.ContainsFunc(known, contains) && !slices.Contains(addressesWithoutTunnels(node), address) {
			found = append(found, address)
		}
	}
	return found
}

// networksFor returns the networks that can contain the address of an annotation.
func (t Tunnels) networksFor(annotation string, node *corev1.Node) []netip.Prefix {
	switch {
	case strings.HasPrefix(annotation, "projectcalico.org/"):
		return t.Calico
	case !t.CiliumPerNode:
		return t.Cilium
	}
	return PodNetworks(node)
}
