// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// MaxTLSNodes is the maximum number of nodes whose TLS is probed for a policy. A control
// plane has few nodes; a selector of more nodes selects workers.
const MaxTLSNodes = 64

// maxAPIServerPorts is the maximum number of ports of API servers that are probed.
const maxAPIServerPorts = 4

// NodeTargets are the ports of one node whose TLS is probed.
type NodeTargets struct {
	Node    string
	Targets []v1alpha1.TLSTarget
}

// TLSPlan says whose TLS is probed for a policy.
type TLSPlan struct {
	// Nodes are the nodes with their targets, sorted by name.
	Nodes []NodeTargets
	// Silent are selected nodes that show no address.
	Silent []string
	// Obstacle is the reason why nothing is probed, nil if there is none.
	Obstacle *backend.Obstacle
}

// TLSOf returns the targets of TLS probes for the policy: of each selected node, only the
// ports of the components in the profile of the distribution, and the additional ports of
// the policy.
func TLSOf(policy *Policy, snapshot state.Snapshot) TLSPlan {
	declared := policy.TLSPosture()
	if declared == nil {
		return TLSPlan{}
	}
	if policy.Invalid != nil {
		return TLSPlan{Obstacle: &backend.Obstacle{Reason: v1alpha1.ReasonNotProbed, Message: "The policy is not valid: see condition Accepted"}}
	}
	ports, distribution, obstacle := tlsPorts(policy, snapshot)
	if obstacle != nil {
		return TLSPlan{Obstacle: obstacle}
	}
	var p TLSPlan
	for _, node := range snapshot.Nodes {
		if !policy.SelectsNode(node) {
			continue
		}
		addresses := probedAddresses(node)
		if len(addresses) == 0 {
			p.Silent = append(p.Silent, node.Name)
			continue
		}
		targets := tlsTargetsAt(addresses, portsOn(node, ports, distribution))
		if len(targets) > v1alpha1.MaxTLSTargets {
			return TLSPlan{Obstacle: &backend.Obstacle{
				Reason: v1alpha1.ReasonNotProbed,
				Message: fmt.Sprintf("node %s has %d ports to probe, with all its addresses, and at most %d are probed: list fewer components in "+
					"spec.posture.tls.components, or fewer ports in spec.profile.components", node.Name, len(targets), v1alpha1.MaxTLSTargets),
			}}
		}
		p.Nodes = append(p.Nodes, NodeTargets{node.Name, targets})
	}
	if len(p.Nodes) > MaxTLSNodes {
		return TLSPlan{Obstacle: &backend.Obstacle{
			Reason: v1alpha1.ReasonNotProbed,
			Message: fmt.Sprintf("spec.nodeSelector selects %s, and TLS is probed on at most %d: select the nodes of the control plane alone",
				wording.CountOf(len(p.Nodes), "node"), MaxTLSNodes),
		}}
	}
	return p
}

// tlsPort is a port of a component.
type tlsPort struct {
	component v1alpha1.PostureComponent
	number    uint16
	// loopback tells that the component answers on loopback only.
	loopback bool
}

// tlsPorts returns the ports to probe, and the distribution.
func tlsPorts(policy *Policy, snapshot state.Snapshot) ([]tlsPort, string, *backend.Obstacle) {
	_, resolved, _ := resolveProfile(policy, snapshot) // an error may be about the CNI, which does not matter here
	distribution := resolved.Distribution
	if distribution == profile.Unknown {
		return nil, "", &backend.Obstacle{
			Reason: v1alpha1.ReasonProfileUnknown, Message: "The distribution is not known: " + resolved.DistributionReason,
		}
	}
	if why := profile.NotApplicable(distribution); why != "" {
		return nil, "", &backend.Obstacle{Reason: v1alpha1.ReasonNotApplicable, Message: why}
	}
	overrides, err := overridesOf(policy)
	overrides.APIServerPorts = probedServerPorts(policy, snapshot)
	overrides.KubeletPorts = kubeletPorts(snapshot.Nodes, policy.SelectsNode)
	var components []profile.Component
	if err == nil {
		components, err = profile.ResolveComponents(distribution, overrides)
	}
	if err != nil {
		return nil, "", &backend.Obstacle{
			Reason: v1alpha1.ReasonProfileUnknown, Message: "The ports of the components are not known: " + err.Error(),
		}
	}
	declared := policy.TLSPosture()
	var ports []tlsPort
	for _, component := range components {
		if component.Name == profile.ComponentAPIServer { // without the ports of proxies on the same nodes
			component.Traffic = portsAsTraffic(overrides.APIServerPorts)
		}
		ports = append(ports, portsOfComponent(component)...)
	}
	// A kubelet reports its own port, and could report the port of another service.
	ports = slices.DeleteFunc(ports, func(p tlsPort) bool {
		return p.component == v1alpha1.PostureKubelet && p.number < firstUnprivilegedPort
	})
	ports = slices.DeleteFunc(ports, func(p tlsPort) bool {
		return len(declared.Components) > 0 && !slices.Contains(declared.Components, p.component)
	})
	for _, additional := range declared.AdditionalPorts {
		if !slices.ContainsFunc(ports, func(p tlsPort) bool { return p.number == uint16(additional.Port) }) {
			ports = append(ports, tlsPort{component: additional.Component, number: uint16(additional.Port)})
		}
	}
	return ports, distribution, nil
}

// firstUnprivilegedPort is the first port that needs no right of root.
const firstUnprivilegedPort = 1024

// probedServerPorts returns the ports of the API servers: the ports that the cluster shows,
// and while an API server is missing, the ports shown before. If the policy does not probe
// API servers, the ports do not matter.
func probedServerPorts(policy *Policy, snapshot state.Snapshot) []uint16 {
	ports := profile.Detect(snapshot.Facts).APIServerPorts
	if len(ports) == 0 {
		ports = apiServerPorts(policy, snapshot, nil)
	}
	components := policy.TLSPosture().Components
	if len(ports) == 0 && len(components) > 0 && !slices.Contains(components, v1alpha1.PostureAPIServer) {
		const usual = 6443
		return []uint16{usual}
	}
	return ports[:min(len(ports), maxAPIServerPorts)]
}

// probedComponents maps components of the profile to components whose TLS is probed.
var probedComponents = map[string]v1alpha1.PostureComponent{
	profile.ComponentAPIServer: v1alpha1.PostureAPIServer,
	"etcd":                     v1alpha1.PostureEtcd,
	profile.ComponentKubelet:   v1alpha1.PostureKubelet,
	"kube-scheduler":           v1alpha1.PostureScheduler,
	"kube-controller-manager":  v1alpha1.PostureControllerManager,
}

// portsOfComponent returns the single TCP ports of a component. The higher of two ports of
// etcd is the port of its peers.
func portsOfComponent(component profile.Component) []tlsPort {
	name, probed := probedComponents[component.Name]
	if !probed {
		return nil
	}
	var ports []tlsPort
	for _, t := range component.Traffic {
		if t.Protocol == profile.TCP && t.First != 0 && t.Last <= t.First {
			ports = append(ports, tlsPort{component: name, number: t.First, loopback: slices.Contains(component.Loopback, t)})
		}
	}
	slices.SortFunc(ports, func(a, b tlsPort) int { return cmp.Compare(a.number, b.number) })
	if name == v1alpha1.PostureEtcd && len(ports) == 2 {
		ports[1].component = v1alpha1.PostureEtcdPeer
	}
	return ports
}

func portsAsTraffic(ports []uint16) []profile.Traffic {
	var traffic []profile.Traffic
	for _, port := range ports {
		traffic = append(traffic, profile.Traffic{Protocol: profile.TCP, First: port, Last: port})
	}
	return traffic
}

// etcdLabel is the label of the nodes of RKE2 and k3s on which etcd runs.
const etcdLabel = "node-role.kubernetes.io/etcd"

// portsOn returns the ports of a node. On RKE2 and k3s, a server may run without etcd, and
// etcd may run without the rest.
func portsOn(node *corev1.Node, ports []tlsPort, distribution string) []tlsPort {
	if distribution != "rke2" && distribution != "k3s" {
		return ports
	}
	if _, has := node.Labels[etcdLabel]; has {
		return ports
	}
	return slices.DeleteFunc(slices.Clone(ports), func(p tlsPort) bool {
		return p.component == v1alpha1.PostureEtcd || p.component == v1alpha1.PostureEtcdPeer
	})
}

// probedAddresses returns the first internal address of each family. A kubelet sets the
// addresses of its node, so addresses such as loopback, which belong to every machine or to
// no machine, are left out.
func probedAddresses(node *corev1.Node) []netip.Addr {
	var addresses []netip.Addr
	for _, shown := range node.Status.Addresses {
		address, err := netip.ParseAddr(shown.Address)
		if shown.Type != corev1.NodeInternalIP || err != nil {
			continue
		}
		address = address.Unmap()
		ofFamily := func(a netip.Addr) bool { return a.Is4() == address.Is4() }
		if address.IsGlobalUnicast() && address.Zone() == "" && !slices.ContainsFunc(addresses, ofFamily) {
			addresses = append(addresses, address)
		}
	}
	return addresses
}

// tlsTargetsAt returns the ports at the addresses, sorted.
func tlsTargetsAt(addresses []netip.Addr, ports []tlsPort) []v1alpha1.TLSTarget {
	var targets []v1alpha1.TLSTarget
	for _, port := range ports {
		if port.loopback {
			targets = append(targets, v1alpha1.TLSTarget{
				Address: loopbackOf(addresses).String(), Port: v1alpha1.PortNumber(port.number), Component: port.component,
			})
			continue
		}
		for _, address := range addresses {
			target := v1alpha1.TLSTarget{Address: address.String(), Port: v1alpha1.PortNumber(port.number), Component: port.component}
			if certifiesAddress(port.component) {
				target.Names = []string{address.String()}
			}
			targets = append(targets, target)
		}
	}
	slices.SortFunc(targets, func(a, b v1alpha1.TLSTarget) int {
		return cmp.Or(cmp.Compare(a.Address, b.Address), cmp.Compare(a.Port, b.Port))
	})
	return targets
}

// certifiesAddress tells whether the certificate of a component must cover the address of
// the node, because clients connect by the address. The scheduler and the controller
// manager make a certificate for loopback at start.
func certifiesAddress(component v1alpha1.PostureComponent) bool {
	switch component {
	case v1alpha1.PostureScheduler, v1alpha1.PostureControllerManager:
		return false
	default:
		return true
	}
}

func loopbackOf(addresses []netip.Addr) netip.Addr {
	if slices.ContainsFunc(addresses, netip.Addr.Is4) {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.IPv6Loopback()
}
