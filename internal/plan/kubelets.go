// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// maxKubeletPorts bounds how many ports kubelets may show: a port each would make
// rules without end.
const maxKubeletPorts = 8

// kubeletPorts returns the sorted, distinct ports of the kubelets as the nodes show them. 0
// stands for nodes without a port.
func kubeletPorts(nodes []*corev1.Node, concerned func(*corev1.Node) bool) []uint16 {
	var ports []uint16
	for i := range nodes {
		if port := state.KubeletPort(nodes[i]); !slices.Contains(ports, port) && concerned(nodes[i]) {
			ports = append(ports, port)
		}
	}
	slices.Sort(ports)
	return ports[:min(len(ports), maxKubeletPorts)]
}

// claimsPort tells whether a component of the policy, other than the kubelet, has the port.
// A kubelet that shows such a port must not open the component's port to the kubelet's
// clients.
func (p *Policy) claimsPort(port uint16) bool {
	if port == 0 || p.Spec.Network == nil {
		return false
	}
	shown := profile.Traffic{Protocol: profile.TCP, First: port, Last: port}
	return slices.ContainsFunc(p.Spec.Network.Components, func(c v1alpha1.Component) bool {
		return c.OnHosts() && c.Name != profile.ComponentKubelet && slices.ContainsFunc(trafficOf(c.Ports), shown.Overlaps)
	})
}

// toEveryKubelet adds the ports of all kubelets to a flow to kubelets, because the flow
// also goes from protected nodes to unprotected nodes.
func (r *hostResolver) toEveryKubelet(flow profile.Flow) profile.Flow {
	if flow.Component != profile.ComponentKubelet || flow.To != profile.RoleNodes {
		return flow
	}
	flow.Traffic = slices.Clone(flow.Traffic)
	for _, port := range kubeletPorts(r.nodes, func(*corev1.Node) bool { return true }) {
		traffic := profile.Traffic{Protocol: profile.TCP, First: port, Last: port}
		if port != 0 && !slices.ContainsFunc(flow.Traffic, func(t profile.Traffic) bool { return t.Covers(traffic) }) {
			flow.Traffic = append(flow.Traffic, traffic)
		}
	}
	return flow
}
