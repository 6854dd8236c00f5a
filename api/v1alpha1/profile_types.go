// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Profile says what kind of cluster this is.
type Profile struct {
	// distribution of Kubernetes. Auto finds it out; the status says which one
	// and why.
	// +kubebuilder:default=Auto
	// +optional
	Distribution Distribution `json:"distribution,omitempty"`

	// cni is what connects the pods. Auto finds it out; the status says which
	// one and why.
	// +kubebuilder:default=Auto
	// +optional
	CNI CNI `json:"cni,omitempty"`

	// networkPolicies says whether something in the cluster enforces Kubernetes
	// NetworkPolicies. Auto finds it out from the CNI; where it cannot, as with a
	// CNI that is not known, the condition Effective says so.
	// +kubebuilder:default=Auto
	// +optional
	NetworkPolicies NetworkPolicies `json:"networkPolicies,omitempty"`

	// addOns are parts of the control plane that need flows of their own.
	// +kubebuilder:validation:MaxItems=16
	// +listType=set
	// +optional
	AddOns []AddOn `json:"addOns,omitempty"`

	// apiServerPorts are further ports at which the API servers are reached on
	// the selected nodes, such as that of a load balancer there. Those of the
	// API servers themselves are read from the cluster.
	// +kubebuilder:validation:MaxItems=8
	// +listType=set
	// +optional
	APIServerPorts []PortNumber `json:"apiServerPorts,omitempty"`

	// loadBalancer says whether clients may arrive at the API servers with the
	// address of a load balancer in place of their own. Auto goes by what the
	// cluster shows: where its members reach the API servers at an address that
	// is no control-plane node's, or where nothing is shown, a policy that
	// restricts the API server is held until a peer has the role LoadBalancer.
	// None says that clients arrive with their own addresses.
	// +kubebuilder:default=Auto
	// +optional
	LoadBalancer LoadBalancer `json:"loadBalancer,omitempty"`

	// nodePorts is the range of node ports, if it is not 30000 to 32767:
	// --service-node-port-range of the API server.
	// +optional
	NodePorts NodePortRange `json:"nodePorts,omitzero"`

	// components are the ports of parts of the control plane, if they are not
	// those that docs/profiles.md lists for the distribution and the CNI. Those of
	// the API server are read from the cluster: see apiServerPorts.
	// +kubebuilder:validation:MaxItems=32
	// +listType=map
	// +listMapKey=name
	// +optional
	Components []ProfileComponent `json:"components,omitempty"`

	// flows are further ones, that the distribution, the CNI and the add-ons do not
	// know of.
	// +kubebuilder:validation:MaxItems=32
	// +listType=map
	// +listMapKey=name
	// +optional
	Flows []ProfileFlow `json:"flows,omitempty"`
}

// LoadBalancer says whether a load balancer puts its address in place of its
// clients'.
//
// +kubebuilder:validation:Enum=Auto;None
type LoadBalancer string

const (
	// LoadBalancerAuto goes by what the cluster shows.
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

	// last port of the range, itself included.
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

	// ports that it listens at.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +listType=atomic
	// +required
	Ports []Port `json:"ports,omitempty"`
}

// ProfileFlow is who turns to whom, and with what. Its answers need no flow of
// their own. One side is a node: the ones that are protected, and those of others
// whom they need.
//
// +kubebuilder:validation:XValidation:rule="has(self.component) != has(self.traffic)",message="must have exactly one of component (whose ports it then has) and traffic (such as tcp/8443)"
// +kubebuilder:validation:XValidation:rule="self.to in ['ControlPlane', 'Nodes', 'Self'] || self.from.exists(r, r in ['ControlPlane', 'Nodes', 'Self', 'Any'])",message="must have ControlPlane, Nodes or Self on one side: others do not touch a node"
// +kubebuilder:validation:XValidation:rule="self.to == 'Self' ? self.from == ['Self'] : !self.from.exists(r, r == 'Self')",message="must have Self on both sides, or on none: write ControlPlane or Nodes for what a node has to do with others"
type ProfileFlow struct {
	// name of the flow. The profile may not have one of the same name.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Label().validate(self).hasValue()",message="must consist of lower-case letters, digits and hyphens"
	// +required
	Name string `json:"name,omitempty"`

	// from are who begins.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	// +listType=set
	// +required
	From []FlowRole `json:"from,omitempty"`

	// to is whom they turn to.
	// +required
	To FlowRole `json:"to,omitempty"`

	// component of the profile whose traffic this is, such as kube-apiserver.
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

	// destinations are the networks that packets are sent to, if these are not the
	// addresses of to: a multicast group.
	// +kubebuilder:validation:MaxItems=8
	// +listType=set
	// +optional
	Destinations []CIDR `json:"destinations,omitempty"`

	// need says what the flow is to the cluster.
	// +kubebuilder:default=Optional
	// +optional
	Need Need `json:"need,omitempty"`
}

// Need is what a flow is to a cluster. Optional: it is let in where everything is
// denied that is not listed. Required: without it somebody is locked out. It is
// let in whatever is restricted, tried by probes, and while a rule of anybody would
// cut it, nothing is enforced.
//
// +kubebuilder:validation:Enum=Optional;Required
type Need string

// The needs of a flow.
const (
	NeedOptional Need = "Optional"
	NeedRequired Need = "Required"
)

// FlowRole is a set of addresses on one side of a flow. Self is the node itself,
// Any is everybody; docs/profiles.md tells of the others.
//
// +kubebuilder:validation:Enum=ControlPlane;Nodes;Pods;Self;Admin;LoadBalancer;Prometheus;Any
type FlowRole string

// Traffic is a protocol, and what is sent with it: all, tcp, tcp/443 or
// tcp/30000-32767 (likewise udp and sctp), icmp/8 or icmp/3/4 (a type, and perhaps
// a code; likewise icmpv6), or ip/112 (a protocol's number).
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

// Distribution is a distribution of Kubernetes. managed is one whose control
// plane is not on nodes of the cluster: it has no hosts to protect.
//
// +kubebuilder:validation:Enum=Auto;kubeadm;rke2;k3s;talos;openshift;k0s;managed
type Distribution string

// DistributionAuto is found out.
const DistributionAuto Distribution = "Auto"

// CNI is what connects pods.
//
// +kubebuilder:validation:Enum=Auto;calico;canal;flannel;cilium;ovn-kubernetes
type CNI string

// CNIAuto is found out.
const CNIAuto CNI = "Auto"

// NetworkPolicies says whether NetworkPolicies do anything.
//
// +kubebuilder:validation:Enum=Auto;Enforced;NotEnforced
type NetworkPolicies string

const (
	// NetworkPoliciesAuto is found out.
	NetworkPoliciesAuto NetworkPolicies = "Auto"
	// NetworkPoliciesEnforced says that something enforces them.
	NetworkPoliciesEnforced NetworkPolicies = "Enforced"
	// NetworkPoliciesNotEnforced says that nothing does.
	NetworkPoliciesNotEnforced NetworkPolicies = "NotEnforced"
)

// AddOn is a part of the control plane that not every cluster has.
//
// +kubebuilder:validation:Enum=keepalived;konnectivity;kube-vip;metallb;node-local-dns
type AddOn string
