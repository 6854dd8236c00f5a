// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"net/netip"
	"slices"

	networkingv1 "k8s.io/api/networking/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// onPods tells whether any component of the policy runs as pods.
func onPods(policy *Policy) bool {
	return slices.ContainsFunc(policy.Spec.Network.Components, func(c v1alpha1.Component) bool { return !c.OnHosts() })
}

// enforcementOf returns the effect of NetworkPolicies in the policy's cluster: the declared
// effect if the policy declares any, the detected effect otherwise.
func enforcementOf(policy *Policy, facts profile.Facts) profile.Enforcement {
	given := policy.Spec.Profile
	cni := string(given.CNI)
	if given.CNI == v1alpha1.CNIAuto {
		cni = ""
	}
	found := profile.DetectEnforcement(facts, cni)
	switch given.NetworkPolicies {
	case v1alpha1.NetworkPoliciesEnforced:
		found.Enforced, found.Why = profile.Always, "spec.profile.networkPolicies says so"
	case v1alpha1.NetworkPoliciesNotEnforced:
		found.Enforced, found.Why = profile.Never, "spec.profile.networkPolicies says so"
	}
	return found
}

// meaning judges where the cluster's CNI does not implement a well-formed NetworkPolicy as
// written.
type meaning struct {
	profile.Enforcement
	// nodes are the addresses of nodes, and of API servers.
	nodes []netip.Addr
	notes []string
	// told tells that a message already contains the remedy.
	told bool
}

func newMeaning(policy *Policy, enforcement profile.Enforcement, snapshot state.Snapshot) *meaning {
	m := &meaning{Enforcement: enforcement}
	if enforcement.NodesIgnored == "" || !onPods(policy) {
		return m
	}
	for i := range snapshot.Nodes {
		m.nodes = append(m.nodes, state.NodeAddresses(snapshot.Nodes[i])...)
	}
	for _, server := range snapshot.Facts.APIServer {
		m.nodes = append(m.nodes, server.Addr())
	}
	slices.SortFunc(m.nodes, netip.Addr.Compare)
	return m
}

// holdForDeniedNodes returns the reason to hold a component: the CNI would deny addresses that the
// component allows. Other doubts become notes.
func (m *meaning) holdForDeniedNodes(component v1alpha1.Component, object *networkingv1.NetworkPolicy) *Held {
	if m.Ranges != "" && slices.ContainsFunc(portsOf(object), func(p networkingv1.NetworkPolicyPort) bool { return p.EndPort != nil }) {
		m.notes = append(m.notes, fmt.Sprintf("%s: component %s has a range of ports (endPort), which then lets in less than it says",
			m.Ranges, component.Name))
	}
	address, found := m.nodeIn(object)
	if !found {
		return nil
	}
	why := fmt.Sprintf("nodes or API servers (such as %s) are allowed %s, and %s: they would be denied",
		address, wording.ListNames(m.fieldsWithNodes(object)), m.NodesIgnored)
	if !m.told {
		m.told = true
		why += ". " + m.Remedy
	}
	return &Held{Component: component.Name, Reason: v1alpha1.ReasonNetworkPolicyNotEnforced, Why: why}
}

// fieldsWithNodes returns the fields that allow nodes.
func (m *meaning) fieldsWithNodes(object *networkingv1.NetworkPolicy) []string {
	var fields []string
	for _, rule := range object.Spec.Ingress {
		if _, found := m.nodeAmong(rule.From); found {
			fields = append(fields, "in allowFrom")
			break
		}
	}
	for _, rule := range object.Spec.Egress {
		if _, found := m.nodeAmong(rule.To); found {
			fields = append(fields, "in allowTo")
			break
		}
	}
	return fields
}

func (m *meaning) nodeIn(object *networkingv1.NetworkPolicy) (netip.Addr, bool) {
	var peers []networkingv1.NetworkPolicyPeer
	for _, rule := range object.Spec.Ingress {
		peers = append(peers, rule.From...)
	}
	for _, rule := range object.Spec.Egress {
		peers = append(peers, rule.To...)
	}
	return m.nodeAmong(peers)
}

// nodeAmong returns the first node address in an ipBlock of the peers.
func (m *meaning) nodeAmong(peers []networkingv1.NetworkPolicyPeer) (netip.Addr, bool) {
	for _, peer := range peers {
		if peer.IPBlock == nil {
			continue
		}
		network, err := netip.ParsePrefix(peer.IPBlock.CIDR)
		if i := slices.IndexFunc(m.nodes, network.Contains); err == nil && i >= 0 {
			return m.nodes[i], true
		}
	}
	return netip.Addr{}, false
}

func portsOf(object *networkingv1.NetworkPolicy) []networkingv1.NetworkPolicyPort {
	var ports []networkingv1.NetworkPolicyPort
	for _, rule := range object.Spec.Ingress {
		ports = append(ports, rule.Ports...)
	}
	for _, rule := range object.Spec.Egress {
		ports = append(ports, rule.Ports...)
	}
	return ports
}
