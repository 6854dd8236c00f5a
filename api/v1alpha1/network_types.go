// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// NetworkSpec declares who may connect to the components of the control plane.
//
// +kubebuilder:validation:XValidation:rule="self.components.all(c, !has(c.allowFrom) || c.allowFrom.all(a, !has(a.peer) || (has(self.peers) && self.peers.exists(p, p.name == a.peer))))",message="every peer named in allowFrom must be defined under network.peers, with a name and cidrs"
// +kubebuilder:validation:XValidation:rule="self.components.all(c, !has(c.allowTo) || c.allowTo.all(a, !has(a.peer) || (has(self.peers) && self.peers.exists(p, p.name == a.peer))))",message="every peer named in allowTo must be defined under network.peers, with a name and cidrs"
type NetworkSpec struct {
	// peers are named sets of static addresses to which components refer.
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=name
	// +optional
	Peers []Peer `json:"peers,omitempty"`

	// components are the protected parts of the control plane.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +listType=map
	// +listMapKey=name
	// +required
	Components []Component `json:"components,omitempty"`

	// hostBackend says what protects the components in their node's network, such as
	// the API server. Auto (the default): the operator uses what the cluster has, at
	// present Calico. None: no component in its node's network is protected.
	// +kubebuilder:default=Auto
	// +optional
	HostBackend HostBackend `json:"hostBackend,omitempty"`

	// unlisted says what happens to traffic to the selected nodes that is not for a
	// port of a component. Pass (the default): the operator does not restrict such
	// traffic. Deny: only the flows of the profile are let through, and all other
	// traffic is dropped.
	// +kubebuilder:default=Pass
	// +optional
	Unlisted Unlisted `json:"unlisted,omitempty"`

	// failsafe says what happens to Calico's failsafe ports, which are open from
	// everywhere whatever a policy says: 22, 179, 2379, 2380, 5473, 6443, 6666 and 6667
	// of TCP, and 68 of UDP. Keep (the default): the ports stay open, so that a
	// restriction of etcd or of port 6443 has no effect, and the status says so. Scope:
	// the failsafe ports of components are limited to the permitted sources, on one
	// node after another.
	// +kubebuilder:default=Keep
	// +optional
	Failsafe Failsafe `json:"failsafe,omitempty"`
}

// HostBackend is what protects components in their node's network.
//
// +kubebuilder:validation:Enum=Auto;Calico;None
type HostBackend string

const (
	// HostBackendAuto uses what the cluster has.
	HostBackendAuto HostBackend = "Auto"
	// HostBackendCalico uses host endpoints and global network policies of Calico.
	HostBackendCalico HostBackend = "Calico"
	// HostBackendNone protects no component in its node's network.
	HostBackendNone HostBackend = "None"
)

// Unlisted says what happens to traffic that is not for a component's port.
//
// +kubebuilder:validation:Enum=Pass;Deny
type Unlisted string

const (
	// UnlistedPass leaves such traffic alone.
	UnlistedPass Unlisted = "Pass"
	// UnlistedDeny drops traffic that is not in the profile.
	UnlistedDeny Unlisted = "Deny"
)

// Failsafe says what happens to Calico's failsafe ports.
//
// +kubebuilder:validation:Enum=Keep;Scope
type Failsafe string

const (
	// FailsafeKeep leaves the failsafe ports open from everywhere.
	FailsafeKeep Failsafe = "Keep"
	// FailsafeScope scopes the failsafe ports of components.
	FailsafeScope Failsafe = "Scope"
)

// Peer is a named set of addresses that the cluster does not know: administrators, a
// load balancer, a monitoring system.
type Peer struct {
	// name by which allowFrom and allowTo refer to the peer.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Label().validate(self).hasValue()",message="name must consist of lower-case letters, digits and hyphens, such as admins"
	// +required
	Name string `json:"name,omitempty"`

	// role of the peer in the flows of the profile. Required flows of the role are
	// allowed without being listed, such as the flow from Admin to the API server.
	// ControlPlane, Nodes and Pods add addresses to the detected addresses of the role,
	// such as the networks from which machines join.
	// +optional
	Role ExternalRole `json:"role,omitempty"`

	// cidrs are the peer's networks, IPv4 and IPv6. The networks are static on purpose:
	// a rule that protects the API server must not depend on the API server.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=128
	// +listType=set
	// +required
	CIDRs []CIDR `json:"cidrs,omitempty"`
}

// ExternalRole is a role in the flows of the profile to which only a policy can give
// addresses.
//
// +kubebuilder:validation:Enum=Admin;LoadBalancer;Prometheus;ControlPlane;Nodes;Pods
type ExternalRole string

const (
	// ExternalAdmin is the addresses from which the cluster is administered.
	ExternalAdmin ExternalRole = "Admin"
	// ExternalLoadBalancer is the load balancers in front of the nodes, and the virtual
	// addresses of the control plane.
	ExternalLoadBalancer ExternalRole = "LoadBalancer"
	// ExternalPrometheus is a monitoring system outside the cluster.
	ExternalPrometheus ExternalRole = "Prometheus"
	// ExternalControlPlane is the addresses of control-plane machines that their nodes
	// do not show: on a separate network, or before the machines have joined.
	ExternalControlPlane ExternalRole = "ControlPlane"
	// ExternalNodes is the addresses of machines before the machines have joined.
	ExternalNodes ExternalRole = "Nodes"
	// ExternalPods is the networks of pods that the nodes do not show.
	ExternalPods ExternalRole = "Pods"
)

// CIDR is a network in CIDR notation, IPv4 or IPv6.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=43
// +kubebuilder:validation:XValidation:rule="isCIDR(self)",message="must be a network in CIDR notation, such as 10.9.0.0/16 or 2001:db8::/32; write a single address as 10.9.0.1/32"
// +kubebuilder:validation:XValidation:rule="!isCIDR(self) || cidr(self) == cidr(self).masked()",message="must not have bits set beyond its prefix: write 10.9.0.0/16 instead of 10.9.1.2/16, or 10.9.1.2/32 for a single address"
type CIDR string

// Component is a part of the control plane. With pods, the component runs as ordinary
// pods, such as a hosted etcd, CoreDNS or a webhook. Without pods, the component is in
// the network of the nodes that the policy selects, such as the API server of kubeadm.
// For such a component, the names apiServer, etcd, kubelet, scheduler and
// controllerManager are known from the profile; any other name is a set of ports.
//
// +kubebuilder:validation:XValidation:rule="has(self.allowFrom) || has(self.allowTo) || (!has(self.pods) && self.name in ['apiServer', 'etcd', 'kubelet', 'scheduler', 'controllerManager'])",message="must declare allowFrom, allowTo (only with pods) or both: only apiServer, etcd, kubelet, scheduler and controllerManager on nodes may do without, and then let in those whom the profile requires"
// +kubebuilder:validation:XValidation:rule="!has(self.pods) || has(self.allowFrom) == has(self.ports)",message="ports and allowFrom must be given together: ports are what allowFrom opens"
// +kubebuilder:validation:XValidation:rule="has(self.pods) || has(self.ports) || self.name in ['apiServer', 'etcd', 'kubelet', 'scheduler', 'controllerManager']",message="must have pods if it runs as pods, or else ports: only those of apiServer, etcd, kubelet, scheduler and controllerManager are known from the profile"
// +kubebuilder:validation:XValidation:rule="has(self.pods) || !has(self.allowTo)",message="allowTo is only for components with pods, because what nodes connect to is not restricted: leave it out, or add pods"
// +kubebuilder:validation:XValidation:rule="!has(self.pods) || (!has(self.interface) && !has(self.addressCIDR))",message="interface and addressCIDR are only for components without pods, because pods are protected in a network of their own: leave them out"
// +kubebuilder:validation:XValidation:rule="!format.dns1123Label().validate(self.name).hasValue() || (!has(self.pods) && self.name in ['apiServer', 'controllerManager'])",message="name must consist of lower-case letters, digits and hyphens, such as coredns; only a component without pods may be named apiServer or controllerManager"
// +kubebuilder:validation:XValidation:rule="has(self.pods) || !(self.name in ['apiserver', 'controllermanager'])",message="name must be written apiServer or controllerManager, with a capital letter inside, for a component without pods"
// +kubebuilder:validation:XValidation:rule="has(self.pods) || self.name != 'apiServer' || !has(self.ports)",message="the ports of apiServer are read from the cluster (the EndpointSlice of the Service default/kubernetes): leave ports out, and list further ones under spec.profile.apiServerPorts"
type Component struct {
	// name of the component, unique in the policy.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +required
	Name string `json:"name,omitempty"`

	// pods are the pods of the component. If pods is left out, the component is in the
	// network of the selected nodes.
	// +optional
	Pods *PodSelector `json:"pods,omitempty"`

	// interface limits the restriction to traffic that arrives at one network interface
	// of the nodes, such as eth1, for a component that listens in a separate network.
	// Other interfaces are left alone. The name becomes a label's value on the objects
	// of the policy.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=15
	// +kubebuilder:validation:XValidation:rule="!format.labelValue().validate(self).hasValue()",message="interface must be the name of one network interface, such as eth1: leave it out for all of them"
	// +optional
	Interface string `json:"interface,omitempty"`

	// addressCIDR limits the restriction to traffic to the nodes' addresses in this
	// network, through any interface.
	// +optional
	AddressCIDR CIDR `json:"addressCIDR,omitempty"`

	// ports are the ports that allowFrom opens. The ports of pods are the ports after a
	// Service's translation, as the pods see the ports. If ports is left out, the ports
	// of apiServer, etcd, kubelet, scheduler and controllerManager on nodes are taken
	// from the profile.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +listType=atomic
	// +optional
	Ports []Port `json:"ports,omitempty"`

	// allowFrom are the peers that may connect to the ports. All other connections to
	// the component's pods are denied. On nodes, all other connections to these ports
	// are denied, except for required flows of the profile.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	// +optional
	AllowFrom []PeerReference `json:"allowFrom,omitempty"`

	// allowTo are the peers to which the component's pods may connect. Once allowTo is
	// set, every other connection from the component's pods is denied, name resolution
	// included: list the DNS servers too.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	// +optional
	AllowTo []Destination `json:"allowTo,omitempty"`
}

// OnHosts says whether the component is in the network of the selected nodes.
func (c Component) OnHosts() bool { return c.Pods == nil }

// PodSelector selects pods in one namespace.
type PodSelector struct {
	// namespace of the pods.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Label().validate(self).hasValue()",message="namespace must be the name of one namespace, such as kube-system"
	// +required
	Namespace string `json:"namespace,omitempty"`

	// selector of the pods. The selector may not be empty: a component is never every
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

	// port is the number of the port, or the first port of a range.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	// +required
	Port int32 `json:"port,omitempty"`

	// endPort is the last port of a range, inclusive.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	// +optional
	EndPort int32 `json:"endPort,omitempty"`
}

// PeerRole is a set of addresses that the cluster itself defines. The addresses follow
// the cluster as nodes join, leave and change address.
//
// +kubebuilder:validation:Enum=ControlPlane;Nodes;Pods
type PeerRole string

const (
	// RoleControlPlane is the nodes that the policy's nodeSelector selects, and all
	// other nodes of the control plane, including the nodes of etcd: all addresses of
	// the nodes, and the addresses from which the nodes reach pods through an overlay
	// network.
	RoleControlPlane PeerRole = "ControlPlane"
	// RoleNodes is every node, with the same addresses.
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

// Destination names a peer to which a component's pods may connect.
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

	// ports to which the pods may connect. If ports is left out, the pods may connect
	// to every port.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +listType=atomic
	// +optional
	Ports []Port `json:"ports,omitempty"`
}
