// SPDX-License-Identifier: Apache-2.0

// Package profile knows who must talk to whom in a cluster: a matrix of flows
// for each distribution and each CNI, kept as data under data/ with the
// documents that it is taken from. Resolve puts together the one of a given
// cluster, Detect tells what a cluster is. Both are pure.
package profile

import (
	"net/netip"
	"slices"
)

// Profile is who must talk to whom in one kind of cluster. What is in it is
// sorted by name, and belongs to the caller.
type Profile struct {
	// Layers are the data files that the profile is made of, in the order in
	// which each adds to, or replaces by name, what was there before.
	Layers []LayerVersion `json:"layers"`

	// NotApplicable says why there is nothing to protect: the cluster has no
	// control-plane nodes. Everything below is empty then, and nothing may be
	// rendered from it. Empty otherwise.
	NotApplicable string `json:"notApplicable,omitempty"`

	// Components are what the names of components stand for on a
	// control-plane node.
	Components []Component `json:"components,omitempty"`

	// Flows are all that is known to be needed. Whoever denies what is not
	// listed lets all of them through; whoever restricts a component lets
	// those through that RequiredAt returns.
	Flows []Flow `json:"flows,omitempty"`

	// Closed is what no node should answer.
	Closed []Closed `json:"closed,omitempty"`
}

// LayerVersion is a data file's name and version. The version is raised
// whenever the file calls for something else than before, so that a profile
// that was changed is told from a cluster that was.
type LayerVersion struct {
	Name    string `json:"name"`
	Version int    `json:"version"`
}

// Component is a part of the control plane that listens in its node's network.
type Component struct {
	// Name of the component: that of its program, as far as it has one.
	Name string `json:"name"`
	// Traffic that the component answers.
	Traffic []Traffic `json:"traffic"`
	// FromCluster says that the ports must be read from the cluster. Those in
	// the data file are the usual ones and never used (Overrides).
	FromCluster bool `json:"fromCluster,omitempty"`
	// Also is, in a data file, what leads to the component besides the ports
	// from the cluster: those of a proxy on the same nodes. Whoever restricts
	// the component and not these has restricted nothing. In a profile it is
	// part of Traffic.
	Also []Traffic `json:"also,omitempty"`
	// Translated says that connections to these ports are sent on to pods
	// before a host's policy sees them. They can not be restricted as a
	// component, and flows to them need no rule of a policy that sees them
	// afterwards: such a rule would open ports of other components that the
	// range may cover.
	Translated bool `json:"translated,omitempty"`
	// Sources are the documents that say so, where no flow of the component
	// names them. In a data file these are keys of its sources.
	Sources []string `json:"sources,omitempty"`
	// Note is what else there is to know.
	Note string `json:"note,omitempty"`
}

// Flow is a connection, or another exchange of packets, that is needed. Its
// answers need no flow of their own.
type Flow struct {
	// Name of the flow, unique in the profile.
	Name string `json:"name"`

	// From are who begins it, To is whom they turn to. A node that is of both
	// sides talks to the other nodes of them.
	From []Role `json:"from"`
	To   Role   `json:"to"`

	// Destinations, if there are any, are the addresses that packets are sent
	// to instead of the addresses of To, such as a multicast group.
	Destinations []netip.Prefix `json:"destinations,omitempty"`

	// Component is the component whose traffic this is, if it is one's; the
	// ports are then the component's.
	Component string `json:"component,omitempty"`

	// Traffic that is sent, sorted.
	Traffic []Traffic `json:"traffic,omitempty"`

	// Required says that cutting the flow would lock somebody out: it is let
	// through whatever a policy declares. Other flows are needed by something
	// that the cluster can be without for a while, or may not have.
	Required bool `json:"required,omitempty"`

	// When says in words in which clusters there is such a flow; empty means
	// in all. The flow is allowed in any case.
	When string `json:"when,omitempty"`

	// Sources are the documents that say so. In a data file these are keys of
	// its sources.
	Sources []string `json:"sources,omitempty"`

	// Unsure says that this is not known for sure; Note then says what to
	// check in a given cluster.
	Unsure bool   `json:"unsure,omitempty"`
	Note   string `json:"note,omitempty"`

	// Layer is the name of the data file that the flow is from, or Added.
	Layer string `json:"layer,omitempty"`
}

// Added is the Layer of the flows of Overrides.
const Added = "added"

// Closed is what no node should answer, and why.
type Closed struct {
	Name    string    `json:"name"`
	Traffic []Traffic `json:"traffic"`
	Sources []string  `json:"sources"`
	Note    string    `json:"note,omitempty"`
}

// Role is a set of addresses on one side of a flow.
type Role string

const (
	// RoleControlPlane is the nodes of the control plane, whether protected or
	// not: all their addresses, and those from which they reach pods through an
	// overlay network.
	RoleControlPlane Role = "ControlPlane"
	// RoleNodes is every node, in the same way. The protected ones are among
	// them.
	RoleNodes Role = "Nodes"
	// RolePods is every pod that has an address of its own.
	RolePods Role = "Pods"
	// RoleSelf is the node itself: its loopback and its own addresses.
	RoleSelf Role = "Self"
	// RoleAdmin is the addresses that the cluster is administered from. Only a
	// policy can name them; so it is for the next two roles.
	RoleAdmin Role = "Admin"
	// RoleLoadBalancer is the load balancers in front of the nodes, those that
	// keep the addresses of their clients left out; and the virtual addresses
	// of the control plane, because the node that holds one reaches itself
	// with it.
	RoleLoadBalancer Role = "LoadBalancer"
	// RolePrometheus is a monitoring system outside the cluster. One that runs
	// as a pod is among Pods.
	RolePrometheus Role = "Prometheus"
	// RoleAny is everybody. A flow to it goes out: it opens nothing on a node.
	RoleAny Role = "Any"
)

// roles are all roles, in the order in which they are listed.
var roles = []Role{
	RoleControlPlane, RoleNodes, RolePods, RoleSelf, RoleAdmin, RoleLoadBalancer, RolePrometheus, RoleAny,
}

// Arrives says whether the flow comes in at a protected node.
func (f Flow) Arrives() bool {
	return f.To == RoleControlPlane || f.To == RoleNodes || f.To == RoleSelf
}

// Leaves says whether the flow goes out from a protected node.
func (f Flow) Leaves() bool {
	return slices.ContainsFunc(f.From, func(r Role) bool {
		return r == RoleControlPlane || r == RoleNodes || r == RoleSelf || r == RoleAny
	})
}

// Component returns the component of that name.
func (p Profile) Component(name string) (Component, bool) {
	i := slices.IndexFunc(p.Components, func(c Component) bool { return c.Name == name })
	if i < 0 {
		return Component{}, false
	}
	return p.Components[i], true
}

// Required returns the flows that must never be cut.
func (p Profile) Required() []Flow {
	return slices.DeleteFunc(slices.Clone(p.Flows), func(f Flow) bool { return !f.Required })
}
