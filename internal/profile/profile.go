// SPDX-License-Identifier: Apache-2.0

// Package profile describes the connections that a cluster needs: a matrix of flows for
// each distribution and each CNI. The matrix is kept as data under data/, with the
// documents behind the data. Resolve builds the profile of a given cluster, and Detect
// returns the kind of a cluster. Both functions are pure.
package profile

import (
	"net/netip"
	"slices"
)

// Profile is the matrix of flows for one kind of cluster. The content is sorted by
// name, and the caller may change the content.
type Profile struct {
	// Layers are the data files from which the profile is built, in order. Each layer
	// adds to the layers before, and replaces items of the same name.
	Layers []LayerVersion `json:"layers"`

	// NotApplicable says why the cluster needs no protection: the cluster has no
	// control-plane nodes. Then all fields below are empty, and no object may be rendered
	// from the profile. NotApplicable is empty otherwise.
	NotApplicable string `json:"notApplicable,omitempty"`

	// Components are the components that run on a control-plane node.
	Components []Component `json:"components,omitempty"`

	// Flows are all known flows of the cluster. A policy that denies unlisted traffic
	// lets all flows through. A policy that restricts a component lets the required
	// flows through.
	Flows []Flow `json:"flows,omitempty"`

	// Closed is the traffic that no node should answer.
	Closed []Closed `json:"closed,omitempty"`
}

// LayerVersion is a data file's name and version. The version is raised whenever the file
// calls for other flows or settings, to distinguish a changed profile from a changed
// cluster.
type LayerVersion struct {
	Name    string `json:"name"`
	Version int    `json:"version"`
}

// Component is a part of the control plane that listens in the network of a node.
type Component struct {
	// Name of the component: the name of its program, if the program has a name.
	Name string `json:"name"`
	// Traffic that the component answers.
	Traffic []Traffic `json:"traffic"`
	// FromCluster says that the ports must be read from the cluster. The ports in the
	// data file are only the usual ports, and are never used (Overrides).
	FromCluster bool `json:"fromCluster,omitempty"`
	// Also is, in a data file, the traffic that reaches the component besides the ports
	// from the cluster, such as the ports of a proxy on the same nodes. A restriction
	// of the component without these ports would have no effect. In a profile, Also is
	// part of Traffic.
	Also []Traffic `json:"also,omitempty"`
	// Translated says that connections to the ports are redirected to pods before a
	// host's policy sees the connections. Such ports cannot be restricted as a
	// component. Flows to such ports need no rule in a policy that acts afterwards: the
	// rule would open ports of other components within the same range.
	Translated bool `json:"translated,omitempty"`
	// Loopback is the part of Traffic that the component answers on loopback only, unless
	// the component's arguments say otherwise. Loopback restricts no traffic, and only
	// tells from where a port can be probed.
	Loopback []Traffic `json:"loopback,omitempty"`
	// Sources are the documents about the component, if no flow of the component names the
	// documents. In a data file, sources are keys of the file's sources.
	Sources []string `json:"sources,omitempty"`
	// Note has further information.
	Note string `json:"note,omitempty"`
}

// Flow is a needed connection, or another needed exchange of packets. The answers need no
// flow of their own.
type Flow struct {
	// Name of the flow, unique in the profile.
	Name string `json:"name"`

	// From are the senders, and To is the receiver. A node on both sides talks to the
	// other nodes of the roles.
	From []Role `json:"from"`
	To   Role   `json:"to"`

	// Destinations, if there are any, are the addresses to which packets are sent
	// instead of the addresses of To, such as a multicast group.
	Destinations []netip.Prefix `json:"destinations,omitempty"`

	// Component is the component to which the traffic belongs, if any. The ports are
	// then the ports of the component.
	Component string `json:"component,omitempty"`

	// Traffic that is sent, sorted.
	Traffic []Traffic `json:"traffic,omitempty"`

	// Required says that the cluster, or its administrators, would be locked out without
	// the flow. The flow is always let through, whatever policies declare. The cluster can
	// work for a while without the other flows, or may not have such flows.
	Required bool `json:"required,omitempty"`

	// When says in words in which clusters the flow exists; empty means in all. The
	// flow is allowed in any case.
	When string `json:"when,omitempty"`

	// Sources are the documents that say so. In a data file, sources are keys of the
	// file's sources.
	Sources []string `json:"sources,omitempty"`

	// Unsure says that the flow is uncertain. Note then says how to check a given cluster.
	Unsure bool   `json:"unsure,omitempty"`
	Note   string `json:"note,omitempty"`

	// Layer is the name of the data file that has the flow, or Added.
	Layer string `json:"layer,omitempty"`
}

// Added is the Layer of the flows of Overrides.
const Added = "added"

// Closed is traffic that no node should answer, and why.
type Closed struct {
	Name    string    `json:"name"`
	Traffic []Traffic `json:"traffic"`
	Sources []string  `json:"sources"`
	Note    string    `json:"note,omitempty"`
}

// Role is a set of addresses on one side of a flow.
type Role string

const (
	// RoleControlPlane is the nodes of the control plane, whether protected or not: all
	// addresses of the nodes, and the addresses from which the nodes reach pods through
	// an overlay network.
	RoleControlPlane Role = "ControlPlane"
	// RoleNodes is every node, protected nodes included, with the same addresses.
	RoleNodes Role = "Nodes"
	// RolePods is every pod with an address of its own.
	RolePods Role = "Pods"
	// RoleSelf is the node: loopback and the node's own addresses.
	RoleSelf Role = "Self"
	// RoleAdmin is the addresses from which the cluster is administered. Only a policy
	// can name the addresses, as with the next two roles.
	RoleAdmin Role = "Admin"
	// RoleLoadBalancer is the load balancers in front of the nodes, except for load
	// balancers that keep the addresses of clients. The virtual addresses of the
	// control plane belong to the role too: a node with a virtual address connects to
	// its own API server from the virtual address.
	RoleLoadBalancer Role = "LoadBalancer"
	// RolePrometheus is a monitoring system outside the cluster. A monitoring system
	// that runs as a pod belongs to Pods.
	RolePrometheus Role = "Prometheus"
	// RoleAny is every address. A flow to RoleAny leaves the node, and opens no port on a
	// node.
	RoleAny Role = "Any"
)

// roles are all roles, in the order in which roles are listed.
var roles = []Role{
	RoleControlPlane, RoleNodes, RolePods, RoleSelf, RoleAdmin, RoleLoadBalancer, RolePrometheus, RoleAny,
}

// ArrivesAtNode says whether the flow arrives at a protected node.
func (f Flow) ArrivesAtNode() bool {
	return f.To == RoleControlPlane || f.To == RoleNodes || f.To == RoleSelf
}

// LeavesNode says whether the flow leaves a protected node.
func (f Flow) LeavesNode() bool {
	return slices.ContainsFunc(f.From, func(r Role) bool {
		return r == RoleControlPlane || r == RoleNodes || r == RoleSelf || r == RoleAny
	})
}

// FindComponent returns the component of that name.
func (p Profile) FindComponent(name string) (Component, bool) {
	i := slices.IndexFunc(p.Components, func(c Component) bool { return c.Name == name })
	if i < 0 {
		return Component{}, false
	}
	return p.Components[i], true
}

// RequiredFlows returns the flows that must never be cut.
func (p Profile) RequiredFlows() []Flow {
	return slices.DeleteFunc(slices.Clone(p.Flows), func(f Flow) bool { return !f.Required })
}
