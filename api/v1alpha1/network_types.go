// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// NetworkSpec declares who may talk to the control plane's components.
//
// +kubebuilder:validation:XValidation:rule="self.components.all(c, !has(c.allowFrom) || c.allowFrom.all(a, !has(a.peer) || (has(self.peers) && self.peers.exists(p, p.name == a.peer))))",message="every peer named in allowFrom must be defined under network.peers, with a name and cidrs"
// +kubebuilder:validation:XValidation:rule="self.components.all(c, !has(c.allowTo) || c.allowTo.all(a, !has(a.peer) || (has(self.peers) && self.peers.exists(p, p.name == a.peer))))",message="every peer named in allowTo must be defined under network.peers, with a name and cidrs"
type NetworkSpec struct {
	// peers are named sets of static addresses that components refer to.
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=name
	// +optional
	Peers []Peer `json:"peers,omitempty"`

	// components are the parts of the control plane that are protected.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +listType=map
	// +listMapKey=name
	// +required
	Components []Component `json:"components,omitempty"`
}

// Peer is a named set of addresses outside the cluster's own bookkeeping:
// administrators, a load balancer, a monitoring system.
type Peer struct {
	// name is what allowFrom and allowTo refer to.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Label().validate(self).hasValue()",message="name must consist of lower-case letters, digits and hyphens, such as admins"
	// +required
	Name string `json:"name,omitempty"`

	// cidrs are the peer's networks, IPv4 and IPv6. They are static on
	// purpose: a rule that protects the API server must not depend on it.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=128
	// +listType=set
	// +required
	CIDRs []CIDR `json:"cidrs,omitempty"`
}

// CIDR is a network in CIDR notation, IPv4 or IPv6.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=43
// +kubebuilder:validation:XValidation:rule="isCIDR(self)",message="must be a network in CIDR notation, such as 10.9.0.0/16 or 2001:db8::/32; write a single address as 10.9.0.1/32"
// +kubebuilder:validation:XValidation:rule="!isCIDR(self) || cidr(self) == cidr(self).masked()",message="must not have bits set beyond its prefix: write 10.9.0.0/16 instead of 10.9.1.2/16, or 10.9.1.2/32 for a single address"
type CIDR string

// Component is a part of the control plane that runs as ordinary pods: a
// hosted API server or etcd, CoreDNS, metrics-server, a webhook.
//
// +kubebuilder:validation:XValidation:rule="has(self.allowFrom) || has(self.allowTo)",message="must declare allowFrom, allowTo or both: a component without either restricts nothing"
// +kubebuilder:validation:XValidation:rule="has(self.allowFrom) == has(self.ports)",message="ports and allowFrom must be given together: ports are what allowFrom opens"
type Component struct {
	// name of the component, unique in the policy.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Label().validate(self).hasValue()",message="name must consist of lower-case letters, digits and hyphens, such as coredns"
	// +required
	Name string `json:"name,omitempty"`

	// pods are the pods that the component runs as.
	// +required
	Pods PodSelector `json:"pods,omitzero"`

	// ports are the ports that allowFrom opens, as the pods see them (after
	// a Service's translation).
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +listType=atomic
	// +optional
	Ports []Port `json:"ports,omitempty"`

	// allowFrom are the peers that may connect to the ports. Once it is set,
	// everything else that connects to the component's pods is denied.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	// +optional
	AllowFrom []PeerReference `json:"allowFrom,omitempty"`

	// allowTo are the peers that the component's pods may connect to. Once it
	// is set, every other connection from the component's pods is denied, name
	// resolution included, so list the DNS servers too.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	// +optional
	AllowTo []Destination `json:"allowTo,omitempty"`
}

// PodSelector selects pods in one namespace.
type PodSelector struct {
	// namespace of the pods.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Label().validate(self).hasValue()",message="namespace must be the name of one namespace, such as kube-system"
	// +required
	Namespace string `json:"namespace,omitempty"`

	// selector of the pods. It may not be empty: a component is never every
	// pod of a namespace.
	// +kubebuilder:validation:XValidation:rule="(has(self.matchLabels) && size(self.matchLabels) > 0) || (has(self.matchExpressions) && size(self.matchExpressions) > 0)",message="selector may not be empty, because an empty selector selects every pod of the namespace: name the component's labels under matchLabels"
	// +required
	Selector LabelSelector `json:"selector,omitzero"`
}

// Protocol is a transport protocol.
//
// +kubebuilder:validation:Enum=TCP;UDP;SCTP
type Protocol string

// Port is a port, or a range of ports, of one protocol.
//
// +kubebuilder:validation:XValidation:rule="!has(self.endPort) || self.endPort >= self.port",message="endPort must not be smaller than port: write the first port of the range as port and the last one as endPort"
type Port struct {
	// protocol of the port.
	// +required
	Protocol Protocol `json:"protocol,omitempty"`

	// port is the port's number, or the first one of a range.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	// +required
	Port int32 `json:"port,omitempty"`

	// endPort is the last port of a range, itself included.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	// +optional
	EndPort int32 `json:"endPort,omitempty"`
}

// PeerRole is a set of addresses that the cluster itself defines, and that
// follows it as nodes join, leave and change address.
//
// +kubebuilder:validation:Enum=ControlPlane;Nodes;Pods
type PeerRole string

const (
	// RoleControlPlane is the nodes that the policy's nodeSelector selects:
	// all their addresses, and those from which they reach pods through an
	// overlay network.
	RoleControlPlane PeerRole = "ControlPlane"
	// RoleNodes is every node, in the same way.
	RoleNodes PeerRole = "Nodes"
	// RolePods is every pod of the cluster that has an address of its own.
	// Pods in a node's network are part of Nodes.
	RolePods PeerRole = "Pods"
)

// PeerReference names who is on the other side: a role or a peer.
//
// +kubebuilder:validation:XValidation:rule="has(self.role) != has(self.peer)",message="must have exactly one of role (ControlPlane, Nodes or Pods) and peer (a name from network.peers)"
type PeerReference struct {
	// role is a set of addresses that the cluster defines.
	// +optional
	Role PeerRole `json:"role,omitempty"`

	// peer is the name of a set of addresses under network.peers.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Peer string `json:"peer,omitempty"`
}

// Destination is whom a component's pods may connect to.
//
// +kubebuilder:validation:XValidation:rule="has(self.role) != has(self.peer)",message="must have exactly one of role (ControlPlane, Nodes or Pods) and peer (a name from network.peers)"
type Destination struct {
	// role is a set of addresses that the cluster defines.
	// +optional
	Role PeerRole `json:"role,omitempty"`

	// peer is the name of a set of addresses under network.peers.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Peer string `json:"peer,omitempty"`

	// ports that may be connected to. Every port when left out.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +listType=atomic
	// +optional
	Ports []Port `json:"ports,omitempty"`
}
