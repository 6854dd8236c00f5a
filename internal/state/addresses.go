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

// tunnelAnnotations are the annotations under which CNIs publish the source address of a
// node's own traffic to pods of other nodes in an overlay network. Calls of webhooks and
// aggregated APIs come from the published addresses, not from other addresses of the node.
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

// addressAnnotations are the annotations under which Calico publishes the detected
// address of a node, with the length of the network. On a node in several networks, the
// address may be missing in the status.
var addressAnnotations = []string{
	"projectcalico.org/IPv4Address",
	"projectcalico.org/IPv6Address",
}

// flannelBackend is set by flannel. The VXLAN device of flannel has the first address
// of the node's pod network (pkg/backend/vxlan/vxlan.go: subnet.IP with /32).
const (
	flannelBackend = "flannel.alpha.coreos.com/backend-type"
	flannelVXLAN   = "vxlan"
)

// ovnSubnets is the annotation in which OVN-Kubernetes notes the pod networks of a
// node, by the name of the network. The management port, from which the node reaches
// pods, has the third address of each network (go-controller/pkg/util:
// ParseNodeHostSubnetAnnotation, GetNodeManagementIfAddr).
const ovnSubnets = "k8s.ovn.org/node-subnets"

// OVNPodNetworks returns the pod networks of a node with OVN-Kubernetes. Before the
// interconnect architecture, the annotation held a single network as a text instead of
// a list.
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
		if prefix, err := netip.ParsePrefix(text); err == nil && mayBeNodePodNetwork(prefix) {
			networks = append(networks, prefix.Masked())
		}
	}
	return networks
}

// PodNetworks returns the networks for pods under a node's spec.podCIDRs.
func PodNetworks(node *corev1.Node) []netip.Prefix {
	var networks []netip.Prefix
	for _, text := range node.Spec.PodCIDRs {
		if prefix, err := netip.ParsePrefix(text); err == nil && mayBeNodePodNetwork(prefix) {
			networks = append(networks, prefix.Masked())
		}
	}
	return networks
}

// mayBeNodePodNetwork says whether a network is small enough for the pods of one node. A
// kubelet may write the annotation, and spec.podCIDRs when registering the Node, and must
// not open the cluster to other machines by a large network.
func mayBeNodePodNetwork(network netip.Prefix) bool {
	const shortest4, shortest6 = 16, 48
	return network.Bits() >= shortest6 || network.Addr().Is4() && network.Bits() >= shortest4
}

// controlPlaneRoles are the labels of nodes with a part of the control plane, etcd
// included, in the known distributions.
var controlPlaneRoles = []string{
	"node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/controlplane", "node-role.kubernetes.io/master",
	etcdRole,
}

// etcdRole is the label of nodes with a member of etcd in RKE, RKE2 and k3s.
const etcdRole = "node-role.kubernetes.io/etcd"

// IsControlPlaneNode says whether the labels of a node name a role of the control
// plane.
func IsControlPlaneNode(node *corev1.Node) bool {
	return slices.ContainsFunc(controlPlaneRoles, func(role string) bool {
		_, is := node.Labels[role]
		return is
	})
}

// IsEtcdNode says whether a node is marked as one with a member of etcd. Most distributions mark
// no node: all control-plane nodes may have one then.
func IsEtcdNode(node *corev1.Node) bool {
	_, is := node.Labels[etcdRole]
	return is
}

// IsNodeReady says whether a node is ready. A node with unknown readiness is not ready.
func IsNodeReady(node *corev1.Node) bool {
	return slices.ContainsFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}

// maxAddresses is the number of used addresses of a node: first the addresses of the
// status, then the addresses noted by the CNI. A kubelet may write as many addresses as
// a Node has room for.
const maxAddresses = 64

// NodeAddresses returns every address from which a node, or a pod in the network of the
// node, may connect: internal and external addresses, and the addresses of overlay
// devices, 64 at most. The addresses are sorted, without duplicates.
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
	for _, key := range addressAnnotations {
		add(annotatedAddress(node, key))
	}
	for _, address := range overlayAddresses(node) {
		add(address.String())
	}
	slices.SortFunc(addresses, netip.Addr.Compare)
	return slices.Compact(addresses)
}

func annotatedAddress(node *corev1.Node, annotation string) string {
	address, _, _ := strings.Cut(node.Annotations[annotation], "/")
	return address
}

// ShowsAsInternal tells whether an address is one of the internal addresses of a node.
func ShowsAsInternal(node *corev1.Node, address netip.Addr) bool {
	return slices.ContainsFunc(node.Status.Addresses, func(a corev1.NodeAddress) bool {
		is, err := netip.ParseAddr(a.Address)
		return err == nil && a.Type == corev1.NodeInternalIP && is.Unmap().WithZone("") == address
	})
}

// addressesWithoutTunnels returns the addresses of a node without the addresses noted
// for overlay devices.
func addressesWithoutTunnels(node *corev1.Node) []netip.Addr {
	without := node.DeepCopy()
	for _, key := range tunnelAnnotations {
		delete(without.Annotations, key)
	}
	return NodeAddresses(without)
}

// overlayAddresses returns the addresses of a node's devices that follow from the pod
// networks of the node.
func overlayAddresses(node *corev1.Node) []netip.Addr {
	var addresses []netip.Addr
	if node.Annotations[flannelBackend] == flannelVXLAN {
		for _, network := range PodNetworks(node) {
			addresses = append(addresses, network.Addr())
		}
	}
	for _, network := range OVNPodNetworks(node) {
		if third := network.Addr().Next().Next(); network.Contains(third) {
			addresses = append(addresses, third)
		}
	}
	return addresses
}

// KubeletPort returns the port of the kubelet in the status of a node, 0 if the status
// has no port.
func KubeletPort(node *corev1.Node) uint16 {
	if port := node.Status.DaemonEndpoints.KubeletEndpoint.Port; port > 0 && port <= math.MaxUint16 {
		return uint16(port)
	}
	return 0
}

// autoscalerDeletionTaint is set by the cluster autoscaler on a node before the
// deletion; cloud providers then remove the node from load balancers
// (k8s.io/cloud-provider/controllers/service).
const autoscalerDeletionTaint = "ToBeDeletedByClusterAutoscaler"

// UsedByLoadBalancers says whether load balancers send traffic to the node, by the
// rules of the Kubernetes service controller.
func UsedByLoadBalancers(node *corev1.Node) bool {
	if node.DeletionTimestamp != nil {
		return false
	}
	if _, excluded := node.Labels[corev1.LabelNodeExcludeBalancers]; excluded {
		return false
	}
	return !slices.ContainsFunc(node.Spec.Taints, func(t corev1.Taint) bool { return t.Key == autoscalerDeletionTaint })
}
