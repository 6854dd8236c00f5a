// SPDX-License-Identifier: Apache-2.0

package state_test

import (
	"fmt"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

func TestAddressesOfANode(t *testing.T) {
	node := func(annotations map[string]string, podCIDRs []string, addresses ...corev1.NodeAddress) *corev1.Node {
		return &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Annotations: annotations},
			Spec:       corev1.NodeSpec{PodCIDRs: podCIDRs},
			Status:     corev1.NodeStatus{Addresses: addresses},
		}
	}
	internal := func(address string) corev1.NodeAddress {
		return corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: address}
	}
	external := func(address string) corev1.NodeAddress {
		return corev1.NodeAddress{Type: corev1.NodeExternalIP, Address: address}
	}
	name := func(kind corev1.NodeAddressType) corev1.NodeAddress {
		return corev1.NodeAddress{Type: kind, Address: "192.0.2.99"}
	}
	flannel := func(backend string) map[string]string {
		return map[string]string{"flannel.alpha.coreos.com/backend-type": backend}
	}
	annotated := func(keysAndValues ...string) map[string]string {
		annotations := map[string]string{}
		for i := 0; i < len(keysAndValues); i += 2 {
			annotations[keysAndValues[i]] = keysAndValues[i+1]
		}
		return annotations
	}
	tests := map[string]struct {
		node *corev1.Node
		want []string
	}{
		"A node without addresses has none": {node(nil, nil), nil},
		"Internal and external addresses count, host names do not": {
			node(nil, nil, external("203.0.113.1"), internal("192.0.2.1"),
				name(corev1.NodeHostName), name(corev1.NodeInternalDNS), name(corev1.NodeExternalDNS)),
			[]string{"192.0.2.1", "203.0.113.1"},
		},
		"Addresses are sorted, IPv4 before IPv6, once each": {
			node(nil, nil, internal("2001:db8::1"), internal("192.0.2.10"), internal("192.0.2.9"), external("192.0.2.9")),
			[]string{"192.0.2.9", "192.0.2.10", "2001:db8::1"},
		},
		"An IPv4 address in the form of IPv6 is IPv4": {
			node(nil, nil, internal("::ffff:192.0.2.1"), internal("192.0.2.1")), []string{"192.0.2.1"},
		},
		"The zone of an address is left out": {node(nil, nil, internal("fe80::1%eth0")), []string{"fe80::1"}},
		"The management port of OVN-Kubernetes": {
			node(annotated("k8s.ovn.org/node-subnets", `{"default":["10.128.2.0/23","fd01:0:0:3::/64"],"blue":["10.200.0.0/24"]}`), nil, internal("192.0.2.1")),
			[]string{"10.128.2.2", "192.0.2.1", "fd01:0:0:3::2"},
		},
		"The management port of an early OVN-Kubernetes": {node(annotated("k8s.ovn.org/node-subnets", `{"default":"10.128.2.0/23"}`), nil), []string{"10.128.2.2"}},
		"Annotations that hold no network of the node":   {node(annotated("k8s.ovn.org/node-subnets", `{"default":[7]}`), nil), nil},
		"Text that is no address is left out":            {node(nil, nil, internal("cp-1"), internal(""), internal("192.0.2.1/24")), nil},
		"Tunnels of Calico count, and the node address that Calico detected": {
			node(annotated("projectcalico.org/IPv4VXLANTunnelAddr", "10.1.0.1", "projectcalico.org/IPv4Address", "192.0.2.1/24"), nil),
			[]string{"10.1.0.1", "192.0.2.1"},
		},
		"Tunnels of Cilium count, the pod network in Cilium's annotation does not": {
			node(annotated("network.cilium.io/ipv4-cilium-host", "10.2.0.1", "network.cilium.io/ipv4-pod-cidr", "10.2.0.0/24"), nil),
			[]string{"10.2.0.1"},
		},
		"The first address of flannel's pod network counts": {
			node(flannel("vxlan"), []string{"10.3.0.0/24", "2001:db8:3::/64", "broken"}), []string{"10.3.0.0", "2001:db8:3::"},
		},
		"Flannel without a tunnel adds no address":  {node(flannel("host-gw"), []string{"10.3.0.0/24"}), nil},
		"Pod networks of other CNIs add no address": {node(nil, []string{"10.3.0.0/24"}), nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, address := range state.NodeAddresses(test.node) {
				got = append(got, address.String())
			}
			NewWithT(t).Expect(got).To(Equal(test.want))
		})
	}
}

func TestWhichNodesLoadBalancersUse(t *testing.T) {
	tests := map[string]struct {
		edit func(*corev1.Node)
		want bool
	}{
		"any node":                     {func(*corev1.Node) {}, true},
		"a node that is not ready":     {func(n *corev1.Node) { n.Status.Conditions = []corev1.NodeCondition{{Type: "Ready", Status: "False"}} }, true},
		"a cordoned node":              {func(n *corev1.Node) { n.Spec.Unschedulable = true }, true},
		"a node with a taint":          {func(n *corev1.Node) { n.Spec.Taints = []corev1.Taint{{Key: "dedicated", Effect: "NoExecute"}} }, true},
		"a node that is being deleted": {func(n *corev1.Node) { n.DeletionTimestamp = &metav1.Time{} }, false},
		"an excluded node":             {func(n *corev1.Node) { n.Labels = map[string]string{corev1.LabelNodeExcludeBalancers: ""} }, false},
		"a node that the autoscaler is about to remove": {func(n *corev1.Node) {
			n.Spec.Taints = []corev1.Taint{{Key: "a"}, {Key: "ToBeDeletedByClusterAutoscaler", Effect: "NoSchedule"}}
		}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			node := &corev1.Node{}
			test.edit(node)
			NewWithT(t).Expect(state.UsedByLoadBalancers(node)).To(Equal(test.want))
		})
	}
}

// A kubelet may report any number of addresses.
func TestAddressesOfANodeAreBounded(t *testing.T) {
	node := &corev1.Node{}
	for i := range 20000 {
		node.Status.Addresses = append(node.Status.Addresses, corev1.NodeAddress{
			Type: corev1.NodeInternalIP, Address: fmt.Sprintf("10.%d.%d.1", i>>8, i&255),
		})
	}
	node.Annotations = map[string]string{"projectcalico.org/IPv4VXLANTunnelAddr": "10.244.0.1"}
	g := NewWithT(t)
	addresses := state.NodeAddresses(node)
	g.Expect(addresses).To(HaveLen(64))
	g.Expect(addresses[0].String()).To(Equal("10.0.0.1"), "the first reported addresses are kept")
}

// A kubelet that makes its Node may claim any pod network. A network that is too
// large for a single node is ignored: otherwise every address would count as a pod's.
func TestNetworksOfPodsAreThoseOfOneNode(t *testing.T) {
	g := NewWithT(t)
	node := corev1.Node{Spec: corev1.NodeSpec{PodCIDRs: []string{"0.0.0.0/0", "::/0", "10.0.0.0/8", "10.3.0.7/24", "2001:db8:3::/64", "broken"}}}
	var networks []string
	for _, network := range state.PodNetworks(&node) {
		networks = append(networks, network.String())
	}
	g.Expect(networks).To(Equal([]string{"10.3.0.0/24", "2001:db8:3::/64"}))
}
