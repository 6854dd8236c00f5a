// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"go4.org/netipx"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// AddServiceBypasses adds to a verdict the Services that bypass the restrictions.
//
// A node forwards traffic from outside for a Service with the address of the node as
// the source (kube-proxy: pkg/proxy of Kubernetes, masquerade unless
// externalTrafficPolicy is Local). If nodes may connect to a component, so may then
// every client of the Service. The node with the component does not forward, and sees
// the client's address. A Service that keeps the client's address is no bypass.
func AddServiceBypasses(verdict Verdict, hosts plan.Hosts, network plan.Network, nodes []*corev1.Node, services []state.Exposed) Verdict {
	if len(services) == 0 {
		return verdict
	}
	e := newExposure(hosts, network, nodes)
	var open, taken, external []string
	for _, service := range services {
		name := service.String()
		for _, what := range slices.Concat(e.exposedHostComponents(service), e.exposedPodComponents(service)) {
			open = append(open, name+" to "+what)
		}
		for _, what := range e.takenOverAddresses(service) {
			taken = append(taken, name+" "+what)
		}
		if len(service.ExternalIPs) > 0 {
			external = append(external, name)
		}
	}
	if len(taken) > 0 {
		verdict = addBypass(verdict, v1alpha1.ReasonForeignService, "Services with externalIPs take over traffic from nodes to "+
			"the control plane: "+wording.ListNames(taken)+": remove spec.externalIPs of these Services")
	}
	if len(open) > 0 {
		verdict = addBypass(verdict, v1alpha1.ReasonForeignService, "nodes forward traffic from outside for a Service with a node's address "+
			"as the source, so that every client of the Service may connect where nodes may: "+wording.ListNames(open)+
			": set type ClusterIP without externalIPs for these Services, or delete the Services")
	}
	if len(external) > 0 {
		verdict.Message += ". Note that Services have externalIPs, by which the author of a Service can take over any address " +
			"(deprecated in Kubernetes 1.36; CIS benchmark 1.2.3): " + wording.ListNames(external) +
			": remove spec.externalIPs, and refuse externalIPs with the admission plugin DenyServiceExternalIPs"
	}
	return verdict
}

// addBypass adds a finding to a verdict: after the reason of a failed verdict, and
// before the reason of an unknown verdict.
func addBypass(verdict Verdict, reason, text string) Verdict {
	found := Verdict{Reason: reason, Message: "The restrictions can be bypassed: " + text}
	switch {
	case verdict.Holds:
		return found
	case verdict.Unknown:
		found.Message += ". " + verdict.Reason + ": " + verdict.Message
		return found
	}
	verdict.Message += ". " + reason + ": " + text
	return verdict
}

// exposure has the data for finding bypasses: the restrictions, and the addresses of
// the nodes.
type exposure struct {
	hosts   backend.Hosts
	network plan.Network
	// nodes returns the addresses of all nodes. Few Services need them: only Services that send
	// traffic to a restricted component.
	nodes               func() [][]netip.Addr
	restrictedAddresses map[netip.Addr]bool // addresses with restrictions on nodes
	sources             map[profile.Traffic]*netipx.IPSet
}

func newExposure(hosts plan.Hosts, network plan.Network, nodes []*corev1.Node) *exposure {
	e := &exposure{
		hosts: hosts.Whole, network: network,
		restrictedAddresses: map[netip.Addr]bool{}, sources: map[profile.Traffic]*netipx.IPSet{},
	}
	e.nodes = sync.OnceValue(func() (addresses [][]netip.Addr) {
		for _, node := range nodes {
			addresses = append(addresses, state.NodeAddresses(node))
		}
		return addresses
	})
	for _, node := range e.hosts.Nodes {
		for _, address := range node.Addresses {
			e.restrictedAddresses[address] = true
		}
	}
	for _, address := range e.hosts.Servers {
		e.restrictedAddresses[address] = true
	}
	return e
}

// exposedHostComponents returns the restricted ports of nodes that the Service opens to
// every client.
func (e *exposure) exposedHostComponents(service state.Exposed) (open []string) {
	if service.KeepsClients {
		return nil
	}
	for _, backends := range service.Backends {
		for _, port := range backends.Ports {
			for _, address := range backends.Addresses {
				if what := e.restrictionOn(address, port); what != "" && e.nodesMayConnect(address, port) {
					open = wording.AppendUnique(open, what)
				}
			}
		}
	}
	return open
}

// restrictionOn returns the name of the restriction on traffic to an address; empty if
// there is none.
func (e *exposure) restrictionOn(address netip.Addr, port profile.Traffic) string {
	for _, component := range e.hosts.Components {
		here := e.restrictedAddresses[address] && component.Interface == ""
		if component.Address.IsValid() {
			here = component.Address.Contains(address)
		}
		if here && slices.ContainsFunc(component.Ports, port.Overlaps) {
			return fmt.Sprintf("component %s (%s)", component.Name, port)
		}
	}
	if !e.hosts.DenyUnlisted || !e.restrictedAddresses[address] {
		return ""
	}
	for _, flow := range slices.Concat(e.hosts.Required, e.hosts.Listed) {
		if slices.ContainsFunc(flow.Traffic, port.Overlaps) {
			return fmt.Sprintf("%s (%s)", flow.Name, port)
		}
	}
	return ""
}

// nodesMayConnect says whether a node without the address may connect, although not
// every client may.
func (e *exposure) nodesMayConnect(address netip.Addr, port profile.Traffic) bool {
	from, known := e.sources[port]
	if !known {
		var bounded bool
		if from, bounded = e.hosts.SourcesWithoutNodes(slices.Concat(e.hosts.Required, e.hosts.Listed), port.Overlaps); !bounded {
			from = nil
		}
		e.sources[port] = from
	}
	return from != nil && slices.ContainsFunc(e.nodes(), func(node []netip.Addr) bool {
		return !slices.Contains(node, address) && slices.ContainsFunc(node, from.Contains)
	})
}

// exposedPodComponents returns the components in pods that the Service opens to every
// client: all pods of the Service, by its selector, belong to the component.
func (e *exposure) exposedPodComponents(service state.Exposed) (open []string) {
	if service.KeepsClients || len(service.Selector) == 0 {
		return nil
	}
	for _, policy := range e.network.Objects {
		selector, err := metav1.LabelSelectorAsSelector(&policy.Spec.PodSelector)
		if err != nil || policy.Namespace != service.Namespace || !selector.Matches(service.Selector) {
			continue
		}
		for _, backends := range service.Backends {
			for _, port := range backends.Ports {
				if slices.ContainsFunc(policy.Spec.Ingress, func(rule networkingv1.NetworkPolicyIngressRule) bool {
					return anyPortOverlaps(rule.Ports, port) && slices.ContainsFunc(rule.From, e.includesNode)
				}) {
					open = wording.AppendUnique(open, fmt.Sprintf("component %s (%s)", policy.Labels[v1alpha1.LabelComponent], port))
				}
			}
		}
	}
	return open
}

func anyPortOverlaps(ports []networkingv1.NetworkPolicyPort, wanted profile.Traffic) bool {
	return len(ports) == 0 || slices.ContainsFunc(ports, func(port networkingv1.NetworkPolicyPort) bool {
		if port.Port == nil || port.Protocol == nil {
			return false
		}
		traffic := profile.Traffic{Protocol: profile.Protocol(*port.Protocol), First: uint16(port.Port.IntVal), Last: uint16(port.Port.IntVal)}
		if port.EndPort != nil {
			traffic.Last = uint16(*port.EndPort)
		}
		return traffic.Overlaps(wanted)
	})
}

// includesNode says whether the addresses of a peer include a node.
func (e *exposure) includesNode(peer networkingv1.NetworkPolicyPeer) bool {
	if peer.IPBlock == nil {
		return false
	}
	prefix, err := netip.ParsePrefix(peer.IPBlock.CIDR)
	if err != nil || len(e.nodes()) < 2 {
		return false
	}
	return slices.ContainsFunc(e.nodes(), func(node []netip.Addr) bool { return slices.ContainsFunc(node, prefix.Contains) })
}

// takenOverAddresses returns the restricted addresses and ports that the Service takes
// over by externalIPs: every node, and every pod on the node, then reaches the Service
// at such an address.
func (e *exposure) takenOverAddresses(service state.Exposed) (taken []string) {
	for _, address := range service.ExternalIPs {
		for _, port := range service.Ports {
			if what := e.restrictionOn(address, port); what != "" {
				taken = wording.AppendUnique(taken, fmt.Sprintf("(%s, the address of %s)", address, what))
			}
		}
	}
	return taken
}
