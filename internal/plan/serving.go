// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"net/netip"

	"go4.org/netipx"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// kubeletPort is metrics-server's default port of kubelets.
const kubeletPort = 10250

// servedBy returns notes about a component that selects the pods of the cluster's DNS, of
// metrics-server or of admission webhooks, and would cut clients or servers of the pods. No
// profile requires such flows, so the cluster's owner has to judge.
func servedBy(component v1alpha1.Component, object *networkingv1.NetworkPolicy, peers *resolver, snapshot state.Snapshot) []string {
	selector, err := component.Pods.Selector.Compile()
	if err != nil {
		return nil
	}
	var notes []string
	for _, s := range snapshot.Serving {
		selects := "selects"
		switch {
		case s.Namespace != object.Namespace:
			continue
		case s.Selector == nil:
			selects = "may select"
		case !selector.Matches(labels.Set(s.Selector)):
			continue
		}
		for _, missing := range append(missingIn(object, s, peers), missingOut(object, s, peers, snapshot)...) {
			notes = append(notes, fmt.Sprintf("component %s %s the pods of Service %s/%s, and %s",
				component.Name, selects, s.Namespace, s.Name, missing))
		}
	}
	return notes
}

// missingIn returns the clients that the NetworkPolicy cuts off from the pods.
func missingIn(object *networkingv1.NetworkPolicy, s state.Serving, peers *resolver) []string {
	if !restrictsDirection(object, networkingv1.PolicyTypeIngress) {
		return nil
	}
	for _, port := range s.Ports {
		if port.Port == nil || port.Protocol == nil {
			continue
		}
		number, protocol := uint16(*port.Port), *port.Protocol
		what := fmt.Sprintf("%s %d", protocol, number)
		switch {
		case s.Kind == state.ServingDNS:
			if isDNS(port.Name) && !letsInPods(object, protocol, number) {
				return []string{"lets no pods in on " + what + ", so that they could resolve no names: add {role: Pods} to its allowFrom"}
			}
		case !coverRole(ingressFrom(object, protocol, number), peers, v1alpha1.RoleControlPlane):
			then := "there would be no metrics of nodes and pods"
			if s.Kind == state.ServingWebhooks {
				then = "requests that " + s.For + " checks would fail, or pass unchecked"
			}
			return []string{"does not let the control plane in on " + what + ", so that " + then + ": add {role: ControlPlane} to its allowFrom"}
		}
	}
	return nil
}

// isDNS tells whether a port of the DNS Service is for names. Other ports are for metrics.
func isDNS(name *string) bool { return name == nil || *name != "metrics" }

// missingOut returns the servers that the NetworkPolicy cuts off from the pods.
func missingOut(object *networkingv1.NetworkPolicy, s state.Serving, peers *resolver, snapshot state.Snapshot) []string {
	if s.Kind == state.ServingWebhooks || !restrictsDirection(object, networkingv1.PolicyTypeEgress) {
		return nil
	}
	for _, server := range snapshot.Facts.APIServer {
		if !letsOut(object, server) {
			return []string{fmt.Sprintf("does not let these pods reach the API server at %s: "+
				"add {role: ControlPlane, ports: [{protocol: TCP, port: %d}]} to its allowTo", server, server.Port())}
		}
	}
	if s.Kind == state.ServingMetrics && !coverRole(egressTo(object, corev1.ProtocolTCP, kubeletPort), peers, v1alpha1.RoleNodes) {
		return []string{fmt.Sprintf("does not let these pods reach the kubelets: "+
			"add {role: Nodes, ports: [{protocol: TCP, port: %d}]} to its allowTo", kubeletPort)}
	}
	return nil
}

// letsInPods tells whether every pod is let in.
func letsInPods(object *networkingv1.NetworkPolicy, protocol corev1.Protocol, port uint16) bool {
	for _, peer := range ingressFrom(object, protocol, port) {
		everywhere := peer.NamespaceSelector != nil && len(peer.NamespaceSelector.MatchLabels)+len(peer.NamespaceSelector.MatchExpressions) == 0
		anywhere := peer.IPBlock != nil && (peer.IPBlock.CIDR == "0.0.0.0/0" || peer.IPBlock.CIDR == "::/0")
		if everywhere || anywhere {
			return true
		}
	}
	return false
}

func ingressFrom(object *networkingv1.NetworkPolicy, protocol corev1.Protocol, port uint16) (from []networkingv1.NetworkPolicyPeer) {
	for _, rule := range object.Spec.Ingress {
		if hasPort(rule.Ports, protocol, port) {
			from = append(from, rule.From...)
		}
	}
	return from
}

func egressTo(object *networkingv1.NetworkPolicy, protocol corev1.Protocol, port uint16) (to []networkingv1.NetworkPolicyPeer) {
	for _, rule := range object.Spec.Egress {
		if hasPort(rule.Ports, protocol, port) {
			to = append(to, rule.To...)
		}
	}
	return to
}

// coverRole tells whether the allowed addresses include all addresses of the role. An unknown
// role counts as covered.
func coverRole(allowed []networkingv1.NetworkPolicyPeer, peers *resolver, role v1alpha1.PeerRole) bool {
	var builder netipx.IPSetBuilder
	for _, peer := range allowed {
		if peer.IPBlock == nil {
			continue
		}
		if network, err := netip.ParsePrefix(peer.IPBlock.CIDR); err == nil {
			builder.AddPrefix(network)
		}
	}
	set, err := builder.IPSet()
	wanted, unknown := peers.addressesOfRole(role)
	if err != nil || unknown != nil {
		return true
	}
	for _, r := range wanted.Ranges() {
		if !set.ContainsRange(r) {
			return false
		}
	}
	return true
}
