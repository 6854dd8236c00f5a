// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Profile says what kind of cluster this is.
type Profile struct {
	// distribution of Kubernetes. Auto (the default): the operator detects the
	// distribution, and the status says which one and why.
	// +kubebuilder:default=Auto
	// +optional
	Distribution Distribution `json:"distribution,omitempty"`

	// cni is the CNI that connects the pods. Auto (the default): the operator detects
	// the CNI, and the status says which one and why.
	// +kubebuilder:default=Auto
	// +optional
	CNI CNI `json:"cni,omitempty"`

	// networkPolicies says whether something in the cluster enforces Kubernetes
	// NetworkPolicies. Auto (the default): the operator detects this from the CNI. If
	// the detection fails, as with an unknown CNI, the condition Effective says so.
	// +kubebuilder:default=Auto
	// +optional
	NetworkPolicies NetworkPolicies `json:"networkPolicies,omitempty"`

	// addOns are parts of the control plane that need flows of their own.
	// +kubebuilder:validation:MaxItems=16
	// +listType=set
	// +optional
	AddOns []AddOn `json:"addOns,omitempty"`

	// apiServerPorts are further ports of the API servers on the selected nodes, such
	// as the port of a load balancer on the nodes. The API servers' own ports are read
	// from the cluster.
	// +kubebuilder:validation:MaxItems=8
	// +listType=set
	// +optional
	APIServerPorts []PortNumber `json:"apiServerPorts,omitempty"`

	// loadBalancer says whether clients may reach the API servers through a load
	// balancer that replaces the clients' addresses with its own. Auto (the default):
	// the operator looks at what the cluster shows. If members of the cluster reach the
	// API servers at an address that belongs to no control-plane node, or if the
	// cluster shows no address, a policy that restricts the API server is held until a
	// peer has the role LoadBalancer. None: clients arrive with their own addresses.
	// +kubebuilder:default=Auto
	// +optional
	LoadBalancer LoadBalancer `json:"loadBalancer,omitempty"`

	// nodePorts is the range of node ports, if other than 30000 to 32767:
	// --service-node-port-range of the API server.
	// +optional
	NodePorts NodePortRange `json:"nodePorts,omitzero"`

	// components are the ports of parts of the control plane, if other than the ports
	// in docs/profiles.md for the distribution and the CNI. The ports of the API server
	// are read from the cluster: see apiServerPorts.
	// +kubebuilder:validation:MaxItems=32
	// +listType=map
	// +listMapKey=name
	// +optional
	Components []ProfileComponent `json:"components,omitempty"`

	// flows are further flows, unknown to the distribution, the CNI and the add-ons.
	// +kubebuilder:validation:MaxItems=32
	// +listType=map
	// +listMapKey=name
	// +optional
	Flows []ProfileFlow `json:"flows,omitempty"`
}

// LoadBalancer says whether a load balancer replaces the addresses of clients with its
// own.
//
// +kubebuilder:validation:Enum=Auto;None
type LoadBalancer string

const (
	// LoadBalancerAuto relies on what the cluster shows.
	LoadBalancerAuto LoadBalancer = "Auto"
	// LoadBalancerNone says that clients arrive with their own addresses.
	LoadBalancerNone LoadBalancer = "None"
)

// NodePortRange is a range of ports.
//
// +kubebuilder:validation:XValidation:rule="self.first <= self.last",message="last must not be smaller than first"
type NodePortRange struct {
	// first port of the range.
	// +required
	First PortNumber `json:"first,omitempty"`

	// last port of the range, inclusive.
	// +required
	Last PortNumber `json:"last,omitempty"`
}

// ProfileComponent is the ports of a part of the control plane.
type ProfileComponent struct {
	// name of the component in docs/profiles.md, such as kube-proxy.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +required
	Name string `json:"name,omitempty"`

	// ports at which the component listens.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +listType=atomic
	// +required
	Ports []Port `json:"ports,omitempty"`
}

// ProfileFlow names the two sides of a flow, and the traffic. Answers need no flow of
// their own. One side must be a node: the protected nodes, or nodes with which the
// protected nodes communicate.
//
// +kubebuilder:validation:XValidation:rule="has(self.component) != has(self.traffic)",message="must have exactly one of component (whose ports it then has) and traffic (such as tcp/8443)"
// +kubebuilder:validation:XValidation:rule="self.to in ['ControlPlane', 'Nodes', 'Self'] || self.from.exists(r, r in ['ControlPlane', 'Nodes', 'Self', 'Any'])",message="must have ControlPlane, Nodes or Self on one side: others do not touch a node"
// +kubebuilder:validation:XValidation:rule="self.to == 'Self' ? self.from == ['Self'] : !self.from.exists(r, r == 'Self')",message="must have Self on both sides, or on none: write ControlPlane or Nodes for what a node has to do with others"
type ProfileFlow struct {
	// name of the flow. The profile may not have a flow of the same name.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Label().validate(self).hasValue()",message="must consist of lower-case letters, digits and hyphens"
	// +required
	Name string `json:"name,omitempty"`

	// from are the senders.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	// +listType=set
	// +required
	From []FlowRole `json:"from,omitempty"`

	// to is the receiver.
	// +required
	To FlowRole `json:"to,omitempty"`

	// component of the profile to which the traffic belongs, such as kube-apiserver.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Component string `json:"component,omitempty"`

	// traffic that is sent.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +listType=set
	// +optional
	Traffic []Traffic `json:"traffic,omitempty"`

	// destinations are the networks to which packets are sent, if other than the
	// addresses of to, such as a multicast group.
	// +kubebuilder:validation:MaxItems=8
	// +listType=set
	// +optional
	Destinations []CIDR `json:"destinations,omitempty"`

	// need says how much the cluster needs the flow.
	// +kubebuilder:default=Optional
	// +optional
	Need Need `json:"need,omitempty"`
}

// Need says how much a cluster needs a flow. Optional: the flow is let in even if all
// unlisted traffic is denied. Required: without the flow, the cluster or its
// administrators would be locked out. A required flow is let in whatever a policy
// restricts, and is probed. While any rule in the cluster would cut the flow, nothing
// is enforced.
//
// +kubebuilder:validation:Enum=Optional;Required
type Need string

// The needs of a flow.
const (
	NeedOptional Need = "Optional"
	NeedRequired Need = "Required"
)

// FlowRole is a set of addresses on one side of a flow. Self is the node itself, and
// Any is everybody; docs/profiles.md describes the other roles.
//
// +kubebuilder:validation:Enum=ControlPlane;Nodes;Pods;Self;Admin;LoadBalancer;Prometheus;Any
type FlowRole string

// Traffic is a protocol, with ports or types: all, tcp, tcp/443 or tcp/30000-32767
// (likewise udp and sctp), icmp/8 or icmp/3/4 (a type, and optionally a code; likewise
// icmpv6), or ip/112 (a protocol's number).
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=32
// +kubebuilder:validation:XValidation:rule="self.matches('^(all|(tcp|udp|sctp)(/[0-9]{1,5}(-[0-9]{1,5})?)?|icmp(v6)?/[0-9]{1,3}(/[0-9]{1,3})?|ip/[0-9]{1,3})$')",message="must be all, tcp, tcp/443 or tcp/30000-32767 (likewise udp and sctp), icmp/8 or icmp/3/4 (likewise icmpv6), or ip/112"
type Traffic string

// PortNumber is the number of a port.
//
// +kubebuilder:validation:Minimum=1
// +kubebuilder:validation:Maximum=65535
type PortNumber int32

// Distribution is a distribution of Kubernetes. The value managed is for clusters whose
// control plane does not run on nodes of the cluster: such clusters have no hosts to
// protect.
//
// +kubebuilder:validation:Enum=Auto;kubeadm;rke2;k3s;talos;openshift;k0s;managed
type Distribution string

// DistributionAuto is detected.
const DistributionAuto Distribution = "Auto"

// CNI is the CNI that connects pods.
//
// +kubebuilder:validation:Enum=Auto;calico;canal;flannel;cilium;ovn-kubernetes
type CNI string

// CNIAuto is detected.
const CNIAuto CNI = "Auto"

// NetworkPolicies says whether NetworkPolicies have any effect.
//
// +kubebuilder:validation:Enum=Auto;Enforced;NotEnforced
type NetworkPolicies string

const (
	// NetworkPoliciesAuto is detected.
	NetworkPoliciesAuto NetworkPolicies = "Auto"
	// NetworkPoliciesEnforced says that something enforces NetworkPolicies.
	NetworkPoliciesEnforced NetworkPolicies = "Enforced"
	// NetworkPoliciesNotEnforced says that nothing enforces NetworkPolicies.
	NetworkPoliciesNotEnforced NetworkPolicies = "NotEnforced"
)

// AddOn is a part of the control plane that not every cluster has.
//
// +kubebuilder:validation:Enum=keepalived;konnectivity;kube-vip;metallb;node-local-dns
type AddOn string
