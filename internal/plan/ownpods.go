// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// sayOwnPod is the remedy for an operator that does not find its own pod.
const sayOwnPod = "Set POD_NAMESPACE and POD_NAME in the operator's Deployment, from metadata.namespace and metadata.name (fieldRef)"

// cutsOperator returns the reason to hold a component that would cut the operator's own
// pods off from the API servers or DNS. A cut-off operator could neither repair, report nor
// roll back, and the policy could not be deleted.
func cutsOperator(component v1alpha1.Component, object *networkingv1.NetworkPolicy, snapshot state.Snapshot) *Held {
	operator := snapshot.Operator
	if operator.Pod.Namespace == "" || operator.Pod.Namespace != object.Namespace ||
		!restrictsDirection(object, networkingv1.PolicyTypeEgress) {
		return nil
	}
	held := func(why string) *Held {
		return &Held{Component: component.Name, Reason: v1alpha1.ReasonOperatorCutOff, Why: why}
	}
	if !operator.IsKnown() {
		return held(fmt.Sprintf("it is unknown whether the component selects the operator's own pod: %s is not found. %s",
			operator.Pod, sayOwnPod))
	}
	selector, err := component.Pods.Selector.Compile()
	if err != nil {
		return nil // Invalid says so already
	}
	i := slices.IndexFunc(operator.Running, func(p corev1.Pod) bool { return !p.Spec.HostNetwork && selector.Matches(labels.Set(p.Labels)) })
	if i < 0 {
		return nil
	}
	lacks, add := lackingEgress(object, operator, snapshot.Facts.APIServer)
	if lacks == "" {
		return nil
	}
	return held(fmt.Sprintf("the component selects the operator's own pod %s/%s, which could then not reach %s, "+
		"so that nothing would be repaired, reported or rolled back: add %s to allowTo of the component, "+
		"or exclude the operator's pods from its selector",
		object.Namespace, operator.Running[i].Name, lacks, add))
}

// lackingEgress returns the operator's connection that the NetworkPolicy does not allow,
// and the entry to add to allowTo.
func lackingEgress(object *networkingv1.NetworkPolicy, operator state.Operator, servers []netip.AddrPort) (lacks, add string) {
	var unreached []string
	var ports []uint16
	for _, server := range servers {
		if !letsOut(object, server) {
			unreached = append(unreached, server.String())
			ports = append(ports, server.Port())
		}
	}
	switch {
	case len(servers) == 0:
		return "the API servers, whose addresses are not known now,", "their addresses"
	case len(unreached) > 0:
		slices.Sort(unreached)
		slices.Sort(ports)
		var texts []string
		for _, port := range slices.Compact(ports) {
			texts = append(texts, fmt.Sprintf("{protocol: TCP, port: %d}", port))
		}
		return "the API server at " + wording.ListNames(unreached), "{role: ControlPlane, ports: [" + strings.Join(texts, ", ") + "]}"
	case operator.Server != "" && !letsOutDNS(object):
		return "the cluster's DNS, which it needs to find the API server " + operator.Server,
			"{role: Pods, ports: [{protocol: UDP, port: 53}, {protocol: TCP, port: 53}]}"
	}
	return "", ""
}

func restrictsDirection(object *networkingv1.NetworkPolicy, direction networkingv1.PolicyType) bool {
	return slices.Contains(object.Spec.PolicyTypes, direction)
}

// letsOut tells whether the NetworkPolicy allows connections to the address.
func letsOut(object *networkingv1.NetworkPolicy, to netip.AddrPort) bool {
	has := func(p networkingv1.NetworkPolicyPeer) bool {
		if p.IPBlock == nil {
			return false // pods; no API server is known to be a pod
		}
		network, err := netip.ParsePrefix(p.IPBlock.CIDR)
		return err == nil && network.Contains(to.Addr())
	}
	return slices.ContainsFunc(object.Spec.Egress, func(rule networkingv1.NetworkPolicyEgressRule) bool {
		return hasPort(rule.Ports, corev1.ProtocolTCP, to.Port()) && (len(rule.To) == 0 || slices.ContainsFunc(rule.To, has))
	})
}

// letsOutDNS tells whether DNS queries may go to any address. The addresses of DNS servers
// are unknown.
func letsOutDNS(object *networkingv1.NetworkPolicy) bool {
	const dns = 53
	return slices.ContainsFunc(object.Spec.Egress, func(rule networkingv1.NetworkPolicyEgressRule) bool {
		return hasPort(rule.Ports, corev1.ProtocolUDP, dns)
	})
}

// hasPort tells whether a rule's ports contain the port; a rule without ports has all
// ports. Rendered rules have no named ports.
func hasPort(ports []networkingv1.NetworkPolicyPort, protocol corev1.Protocol, port uint16) bool {
	return len(ports) == 0 || slices.ContainsFunc(ports, func(p networkingv1.NetworkPolicyPort) bool {
		if p.Protocol == nil || *p.Protocol != protocol {
			return false
		}
		if p.Port == nil {
			return true
		}
		first := p.Port.IntVal
		last := first
		if p.EndPort != nil {
			last = *p.EndPort
		}
		return int32(port) >= first && int32(port) <= last
	})
}
