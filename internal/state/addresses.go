// SPDX-License-Identifier: Apache-2.0

package state

import (
	"encoding/json"
	"math"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// tunnelAnnotations are the annotations under which CNIs publish the address
// that a node's own traffic to pods of other nodes carries as its source in an
// overlay network. Calls of webhooks and aggregated APIs come from there, not
// from the node's addresses.
var tunnelAnnotations = []string{
	// Calico: libcalico-go/lib/backend/k8s/resources/node.go
	"projectcalico.org/IPv4IPIPTunnelAddr",
	"projectcalico.org/IPv4VXLANTunnelAddr",
	"projectcalico.org/IPv6VXLANTunnelAddr",
	"projectcalico.org/IPv4WireguardInterfaceAddr",
	"projectcalico.org/IPv6WireguardInterfaceAddr",
	// Cilium: pkg/annotation/k8s.go
	"network.cilium.io/ipv4-cilium-host",
	"network.cilium.io/ipv6-cilium-host",
}

// ownAnnotations are where Calico publishes the address, with the length of its
// network, that it has found a node to have. On a node in several networks it
// need not be one of those in the status.
var ownAnnotations = []string{
	"projectcalico.org/IPv4Address",
	"projectcalico.org/IPv6Address",
}

// flannelBackend is set by flannel. Its VXLAN device has the first address of
// the node's pod network (pkg/backend/vxlan/vxlan.go: subnet.IP with /32).
const (
	flannelBackend = "flannel.alpha.coreos.com/backend-type"
	flannelVXLAN   = "vxlan"
)

// ovnSubnets is where OVN-Kubernetes notes the networks that a node's pods have
// addresses of, by the name of the network. The node's management port, from which
// the node reaches pods, has the third address of each
// (go-controller/pkg/util: ParseNodeHostSubnetAnnotation, GetNodeManagementIfAddr).
const ovnSubnets = "k8s.ovn.org/node-subnets"

// OVNPodNetworks returns the networks of a node's pods with OVN-Kubernetes. Up to
// its interconnect architecture a single network was no list.
func OVNPodNetworks(node *corev1.Node) []netip.Prefix {
	var named map[string]json.RawMessage
	if json.Unmarshal([]byte(node.Annotations[ovnSubnets]), &named) != nil {
		return nil
	}
	var texts []string
	if json.Unmarshal(named["default"], &texts) != nil {
		var one string
		if json.Unmarshal(named["default"], &one) != nil {
			return nil
		}
		texts = []string{one}
	}
	var networks []netip.Prefix
	for _, text := range texts {
		if prefix, err := netip.ParsePrefix(text); err == nil && oneNodesPods(prefix) {
			networks = append(networks, prefix.Masked())
		}
	}
	return networks
}

// oneNodesPods says whether a network may be that of one node's pods. A kubelet may
// write the annotation, and must not open the cluster to everybody with it.
func oneNodesPods(network netip.Prefix) bool {
	const shortest4, shortest6 = 16, 48
	return network.Bits() >= shortest6 || network.Addr().Is4() && network.Bits() >= shortest4
}

// controlPlaneRoles are the labels of nodes that have a part of the control plane,
// etcd among them, in the distributions that are known.
var controlPlaneRoles = []string{
	"node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/controlplane", "node-role.kubernetes.io/master",
	"node-role.kubernetes.io/etcd",
}

// ControlPlane says whether a node says that it is of the control plane.
func ControlPlane(node *corev1.Node) bool {
	return slices.ContainsFunc(controlPlaneRoles, func(role string) bool {
		_, is := node.Labels[role]
		return is
	})
}

// Ready says whether a node is ready. One whose readiness is unknown is not.
func Ready(node *corev1.Node) bool {
	return slices.ContainsFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}

// maxAddresses is how many addresses of a node count: the first ones of its status,
// then those that its CNI notes. A kubelet may show as many as a Node has room for.
const maxAddresses = 64

// NodeAddresses returns every address from which a node itself, or a pod in
// its network, may connect: its internal and external addresses and those of
// its overlay devices, 64 at most. Sorted, without duplicates.
func NodeAddresses(node *corev1.Node) []netip.Addr {
	var addresses []netip.Addr
	add := func(text string) {
		if address, err := netip.ParseAddr(text); err == nil && len(addresses) < maxAddresses {
			addresses = append(addresses, address.Unmap().WithZone(""))
		}
	}
	for _, a := range node.Status.Addresses {
		if a.Type == corev1.NodeInternalIP || a.Type == corev1.NodeExternalIP {
			add(a.Address)
		}
	}
	for _, key := range tunnelAnnotations {
		add(node.Annotations[key])
	}
	for _, key := range ownAnnotations {
		add(ownAddress(node, key))
	}
	for _, address := range overlayAddresses(node) {
		add(address.String())
	}
	slices.SortFunc(addresses, netip.Addr.Compare)
	return slices.Compact(addresses)
}

func ownAddress(node *corev1.Node, annotation string) string {
	address, _, _ := strings.Cut(node.Annotations[annotation], "/")
	return address
}

// shownAddresses returns those that a node shows as its own, and not of an overlay device.
func shownAddresses(node *corev1.Node) []netip.Addr {
	without := node.DeepCopy()
	for _, key := range tunnelAnnotations {
		delete(without.Annotations, key)
	}
	return NodeAddresses(without)
}

// overlayAddresses returns those of a node's devices that follow from the networks of
// its pods.
func overlayAddresses(node *corev1.Node) []netip.Addr {
	var addresses []netip.Addr
	if node.Annotations[flannelBackend] == flannelVXLAN {
		for _, cidr := range node.Spec.PodCIDRs {
			if prefix, err := netip.ParsePrefix(cidr); err == nil {
				addresses = append(addresses, prefix.Masked().Addr())
			}
		}
	}
	for _, network := range OVNPodNetworks(node) {
		if third := network.Addr().Next().Next(); network.Contains(third) {
			addresses = append(addresses, third)
		}
	}
	return addresses
}

// KubeletPort returns the port at which a node says that its kubelet listens; 0 if it
// does not say.
func KubeletPort(node *corev1.Node) uint16 {
	if port := node.Status.DaemonEndpoints.KubeletEndpoint.Port; port > 0 && port <= math.MaxUint16 {
		return uint16(port)
	}
	return 0
}

// autoscalerDeletionTaint is set by the cluster autoscaler on a node that it is
// about to delete; cloud providers then take the node out of load balancers
// (k8s.io/cloud-provider/controllers/service).
const autoscalerDeletionTaint = "ToBeDeletedByClusterAutoscaler"

// UsedByLoadBalancers says whether load balancers send traffic to the node, by
// the rules of the Kubernetes service controller.
func UsedByLoadBalancers(node *corev1.Node) bool {
	if node.DeletionTimestamp != nil {
		return false
	}
	if _, excluded := node.Labels[corev1.LabelNodeExcludeBalancers]; excluded {
		return false
	}
	return !slices.ContainsFunc(node.Spec.Taints, func(t corev1.Taint) bool { return t.Key == autoscalerDeletionTaint })
}
