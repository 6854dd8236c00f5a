// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// RendererVersion must be raised when the same spec and the same cluster give another
// NetworkPolicy than before. The version tells an upgrade of the operator from drift.
const RendererVersion = "1"

// Network is the plan for one policy's NetworkPolicies.
type Network struct {
	// Objects are the NetworkPolicies, in the order of the components.
	Objects []*networkingv1.NetworkPolicy
	// Held are the components that cannot be rendered now. Their NetworkPolicies in the
	// cluster stay.
	Held []Held
	// Losses are the components that an older policy claims.
	Losses []Loss
	// Enforcement is the effect of NetworkPolicies in this cluster.
	Enforcement profile.Enforcement
	// Notes are warnings about a plan that is safe to write.
	Notes []string
}

// Held is a component that cannot be rendered now, with the reason.
type Held struct {
	// Component is empty if the reason concerns all components on hosts.
	Component string
	// Reason is a reason of the condition Verified.
	Reason string
	Why    string
}

// String names the component and the reason.
func (h Held) String() string {
	if h.Component == "" {
		return "components on hosts: " + h.Why
	}
	return "component " + h.Component + ": " + h.Why
}

// NetworkPolicyName returns the name of a component's NetworkPolicy. Names of policies and
// components contain no dots, so two components never share a NetworkPolicy name.
func NetworkPolicyName(policy, component string) string {
	return state.NetworkPolicyPrefix + policy + "." + component
}

// NetworkPolicies renders one NetworkPolicy for each component of the policy. The NetworkPolicy
// selects the component's pods and allows only the declared peers in the declared
// directions. policies are sorted from oldest to newest.
func NetworkPolicies(policy *Policy, policies []Policy, snapshot state.Snapshot) Network {
	var network Network
	if policy.Spec.Network == nil || policy.Invalid != nil || !policy.Claims() {
		return network
	}
	if onPods(policy) {
		network.Enforcement = enforcementOf(policy, snapshot.Facts)
	}
	peers := newResolver(policy, snapshot)
	meaning := newMeaning(policy, network.Enforcement, snapshot)
	for _, component := range policy.Spec.Network.Components {
		if component.OnHosts() {
			continue
		}
		if winner := claimedBefore(policy, component, policies); winner != "" {
			network.Losses = append(network.Losses, Loss{Policy: policy.Name, Winner: winner, What: "component " + component.Name})
			continue
		}
		object, err := renderNetworkPolicy(policy, component, peers)
		if err != nil {
			refusal := held{reason: v1alpha1.ReasonAddressesUnknown, why: err.Error()}
			errors.As(err, &refusal)
			network.Held = append(network.Held, Held{Component: component.Name, Reason: refusal.reason, Why: refusal.why})
			continue
		}
		if held := cmp.Or(meaning.holdForDeniedNodes(component, object), cutsOperator(component, object, snapshot)); held != nil {
			network.Held = append(network.Held, *held)
			continue
		}
		network.Objects = append(network.Objects, object)
		network.Notes = append(network.Notes, servedBy(component, object, peers, snapshot)...)
	}
	network.Notes = append(network.Notes, meaning.notes...)
	if peers.book != nil && len(onHosts(policy)) == 0 { // otherwise the plan of hosts has the note
		network.Notes = append(network.Notes, peers.book.outsideTunnels()...)
	}
	return network
}

// claimedBefore returns the older policy with a component of the same name in the same
// namespace, or with the same pods under another name; empty if there is none.
func claimedBefore(policy *Policy, component v1alpha1.Component, policies []Policy) string {
	for _, claim := range claimsOf(component) {
		for _, older := range policies {
			if older.Name == policy.Name {
				break
			}
			if older.Spec.Network == nil || older.Invalid != nil || !older.Claims() {
				continue
			}
			for _, other := range older.Spec.Network.Components {
				if other.OnHosts() {
					continue
				}
				for _, held := range claimsOf(other) {
					if held == claim {
						return older.Name
					}
				}
			}
		}
	}
	return ""
}

func claimsOf(component v1alpha1.Component) [2]string {
	selector := metav1.FormatLabelSelector(component.Pods.Selector.ToMeta())
	return [2]string{"name/" + component.Pods.Namespace + "/" + component.Name, "pods/" + component.Pods.Namespace + "/" + selector}
}

func renderNetworkPolicy(policy *Policy, component v1alpha1.Component, peers *resolver) (*networkingv1.NetworkPolicy, error) {
	object := &networkingv1.NetworkPolicy{
		TypeMeta: metav1.TypeMeta{APIVersion: networkingv1.SchemeGroupVersion.String(), Kind: "NetworkPolicy"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: component.Pods.Namespace,
			Name:      NetworkPolicyName(policy.Name, component.Name),
			Labels:    map[string]string{v1alpha1.LabelPolicy: policy.Name, v1alpha1.LabelComponent: component.Name},
		},
		Spec: networkingv1.NetworkPolicySpec{PodSelector: *component.Pods.Selector.ToMeta()},
	}
	if len(component.AllowFrom) > 0 {
		from, err := peers.resolvePeers(component.AllowFrom...)
		if err != nil {
			return nil, err
		}
		if from.IsEmpty() {
			return nil, noAddressError("allowFrom", component.AllowFrom...)
		}
		object.Spec.PolicyTypes = append(object.Spec.PolicyTypes, networkingv1.PolicyTypeIngress)
		object.Spec.Ingress = []networkingv1.NetworkPolicyIngressRule{{Ports: renderPorts(component.Ports), From: renderPeers(from)}}
	}
	for _, destination := range component.AllowTo {
		reference := v1alpha1.PeerReference{Role: destination.Role, Peer: destination.Peer}
		to, err := peers.resolvePeers(reference)
		if err != nil {
			return nil, err
		}
		if to.IsEmpty() {
			return nil, noAddressError("allowTo", reference)
		}
		object.Spec.Egress = append(object.Spec.Egress,
			networkingv1.NetworkPolicyEgressRule{Ports: renderPorts(destination.Ports), To: renderPeers(to)})
	}
	if len(object.Spec.Egress) > 0 {
		object.Spec.PolicyTypes = append(object.Spec.PolicyTypes, networkingv1.PolicyTypeEgress)
	}
	setStamp(object, object.Spec)
	return object, nil
}

func renderPorts(ports []v1alpha1.Port) []networkingv1.NetworkPolicyPort {
	var out []networkingv1.NetworkPolicyPort
	for _, port := range ports {
		protocol, number := corev1.Protocol(port.Protocol), intstr.FromInt32(port.Port)
		rendered := networkingv1.NetworkPolicyPort{Protocol: &protocol, Port: &number}
		if port.EndPort != 0 {
			rendered.EndPort = &port.EndPort
		}
		out = append(out, rendered)
	}
	return out
}

func renderPeers(peers Peers) []networkingv1.NetworkPolicyPeer {
	var out []networkingv1.NetworkPolicyPeer
	if peers.Pods {
		out = append(out, networkingv1.NetworkPolicyPeer{NamespaceSelector: &metav1.LabelSelector{}})
	}
	for _, prefix := range peers.Prefixes {
		out = append(out, networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: prefix.String()}})
	}
	return out
}

// noAddressError returns the error for peers without any address: an empty peer list is never
// rendered.
func noAddressError(field string, references ...v1alpha1.PeerReference) error {
	words := make([]string, 0, len(references))
	for _, reference := range references {
		if reference.Peer != "" {
			words = append(words, "peer "+reference.Peer)
		} else {
			words = append(words, "role "+string(reference.Role))
		}
	}
	return fmt.Errorf("%s (%s) stands for no address now, and a rule that allows nobody is never written",
		field, strings.Join(words, ", "))
}
