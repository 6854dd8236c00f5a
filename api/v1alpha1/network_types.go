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

	// hostBackend says what protects the components that are in their node's
	// network, such as the API server. Auto takes what the cluster has, Calico
	// at present. None protects none of them.
	// +kubebuilder:default=Auto
	// +optional
	HostBackend HostBackend `json:"hostBackend,omitempty"`

	// unlisted says what becomes of traffic to the selected nodes that is not
	// for a port of a component. Pass leaves it to whoever decides about it
	// now. Deny lets through what the profile knows to be needed, and drops
	// everything else.
	// +kubebuilder:default=Pass
	// +optional
	Unlisted Unlisted `json:"unlisted,omitempty"`

	// failsafe says what becomes of Calico's failsafe ports, which are open
	// from everywhere whatever a policy says: 22, 179, 2379, 2380, 5473, 6443,
	// 6666 and 6667 of TCP and 68 of UDP. Keep leaves them, so that a
	// restriction of etcd or of port 6443 has no effect, and the status says
	// so. Scope narrows those of components to whom may connect, on one node
	// after another.
	// +kubebuilder:default=Keep
	// +optional
	Failsafe Failsafe `json:"failsafe,omitempty"`
}

// HostBackend is what protects components that are in their node's network.
//
// +kubebuilder:validation:Enum=Auto;Calico;None
type HostBackend string

const (
	// HostBackendAuto is what the cluster has.
	HostBackendAuto HostBackend = "Auto"
	// HostBackendCalico is host endpoints and global network policies of Calico.
	HostBackendCalico HostBackend = "Calico"
	// HostBackendNone protects none of these components.
	HostBackendNone HostBackend = "None"
)

// Unlisted says what becomes of traffic that is not for a component's port.
//
// +kubebuilder:validation:Enum=Pass;Deny
type Unlisted string

const (
	// UnlistedPass leaves it alone.
	UnlistedPass Unlisted = "Pass"
	// UnlistedDeny drops what the profile does not know.
	UnlistedDeny Unlisted = "Deny"
)

// Failsafe says what becomes of Calico's failsafe ports.
//
// +kubebuilder:validation:Enum=Keep;Scope
type Failsafe string

const (
	// FailsafeKeep leaves them open from everywhere.
	FailsafeKeep Failsafe = "Keep"
	// FailsafeScope narrows those of components.
	FailsafeScope Failsafe = "Scope"
)

// Peer is a named set of addresses outside the cluster's own bookkeeping:
// administrators, a load balancer, a monitoring system.
type Peer struct {
	// name is what allowFrom and allowTo refer to.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Label().validate(self).hasValue()",message="name must consist of lower-case letters, digits and hyphens, such as admins"
	// +required
	Name string `json:"name,omitempty"`

	// role is the part that the peer has in the profile's matrix of who must
	// talk to whom. What is required for the role, such as that Admin reaches
	// the API server, is allowed without being listed. ControlPlane, Nodes and
	// Pods add to what these roles are found to be, such as the networks from
	// which machines join.
	// +optional
	Role ExternalRole `json:"role,omitempty"`

	// cidrs are the peer's networks, IPv4 and IPv6. They are static on
	// purpose: a rule that protects the API server must not depend on it.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=128
	// +listType=set
	// +required
	CIDRs []CIDR `json:"cidrs,omitempty"`
}

// ExternalRole is a part in the profile's matrix that only a policy can give
// addresses to.
//
// +kubebuilder:validation:Enum=Admin;LoadBalancer;Prometheus;ControlPlane;Nodes;Pods
type ExternalRole string

const (
	// ExternalAdmin is where the cluster is administered from.
	ExternalAdmin ExternalRole = "Admin"
	// ExternalLoadBalancer is load balancers in front of the nodes, and the
	// virtual addresses of the control plane.
	ExternalLoadBalancer ExternalRole = "LoadBalancer"
	// ExternalPrometheus is a monitoring system outside the cluster.
	ExternalPrometheus ExternalRole = "Prometheus"
	// ExternalControlPlane is where machines of the control plane have addresses
	// that their nodes do not show: on a network of their own, or before they
	// have joined.
	ExternalControlPlane ExternalRole = "ControlPlane"
	// ExternalNodes is where machines have addresses before they have joined.
	ExternalNodes ExternalRole = "Nodes"
	// ExternalPods is networks of pods that the nodes do not show.
	ExternalPods ExternalRole = "Pods"
)

// CIDR is a network in CIDR notation, IPv4 or IPv6.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=43
// +kubebuilder:validation:XValidation:rule="isCIDR(self)",message="must be a network in CIDR notation, such as 10.9.0.0/16 or 2001:db8::/32; write a single address as 10.9.0.1/32"
// +kubebuilder:validation:XValidation:rule="!isCIDR(self) || cidr(self) == cidr(self).masked()",message="must not have bits set beyond its prefix: write 10.9.0.0/16 instead of 10.9.1.2/16, or 10.9.1.2/32 for a single address"
type CIDR string

// Component is a part of the control plane. It runs as ordinary pods, such as
// a hosted etcd, CoreDNS or a webhook, and then has pods; or it is in the
// network of the nodes that the policy selects, such as the API server of
// kubeadm. What the names apiServer, etcd, kubelet, scheduler and
// controllerManager stand for there is known from the profile; any other name
// is a set of ports.
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

	// pods are the pods that the component runs as. Left out, the component is
	// in the network of the selected nodes.
	// +optional
	Pods *PodSelector `json:"pods,omitempty"`

	// interface restricts what comes in at one network interface of the nodes,
	// such as eth1, for a component that listens in a network of its own.
	// Other interfaces are left alone. The name becomes a label's value on what
	// the policy creates.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=15
	// +kubebuilder:validation:XValidation:rule="!format.labelValue().validate(self).hasValue()",message="interface must be the name of one network interface, such as eth1: leave it out for all of them"
	// +optional
	Interface string `json:"interface,omitempty"`

	// addressCIDR restricts what is sent to the nodes' addresses in this
	// network, through whichever interface it comes in.
	// +optional
	AddressCIDR CIDR `json:"addressCIDR,omitempty"`

	// ports are the ports that allowFrom opens. Pods' ports are as the pods see
	// them, after a Service's translation. Those of apiServer, etcd, kubelet,
	// scheduler and controllerManager on nodes are known from the profile when
	// left out.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +listType=atomic
	// +optional
	Ports []Port `json:"ports,omitempty"`

	// allowFrom are the peers that may connect to the ports. Everything else
	// that connects to the component's pods is denied, and on nodes everything
	// else that connects to these ports, except what the profile requires.
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
	// RoleControlPlane is the nodes that the policy's nodeSelector selects, and
	// all others of the control plane, etcd's included: all their addresses,
	// and those from which they reach pods through an overlay network.
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
