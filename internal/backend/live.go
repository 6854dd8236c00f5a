// SPDX-License-Identifier: Apache-2.0

package backend

import "net/netip"

// Live is a backend, with the state of the backend in the cluster at one moment. A Live
// never changes.
type Live interface {
	Renderer

	// Availability says whether the backend can be used now.
	Availability() Availability
	// WithProblem returns the same state, which cannot be relied on any more, for a reason.
	WithProblem(text string) Live

	// Objects returns the objects that the operator may have made.
	Objects() []Object
	// ForeignIn returns the foreign objects in a common object, such as foreign policies in
	// the operator's tier. Foreign objects are the objects that ours does not accept.
	ForeignIn(common Object, ours func(Object) bool) []Object
	// HostEndpoints returns the endpoints of all nodes, sorted by name.
	HostEndpoints() []Endpoint
	// SetNetworks returns the networks in a set of a policy, as written now. exists tells
	// whether the set is written.
	SetNetworks(policy, set string) (networks []netip.Prefix, exists bool)
	// RuleInterfaces returns the interfaces on which the written rules of a version act; ""
	// stands for every interface.
	RuleInterfaces(policy, version string) []string
	// Failsafes returns the failsafe ports of all nodes; nil if the defaults of the backend
	// are in force.
	Failsafes() []Failsafe
	// ScopedFailsafes returns the policy and the version of the rules for which the operator
	// has scoped the failsafe ports of a node.
	ScopedFailsafes(node string) (policy, version string, scoped bool)
	// PodNetworks returns the networks from which the backend gives addresses to pods.
	PodNetworks() []netip.Prefix
}

// Renderer turns hosts into objects. A Renderer is pure.
type Renderer interface {
	// WithRulesets returns the hosts with the version of their rules, and with the ruleset
	// that each node is to have at the end of the rollout.
	WithRulesets(Hosts) Hosts
	// Render returns the objects for the hosts in the order of the writes, or an error if
	// the objects would cut a required flow, or would allow nobody.
	Render(Hosts) ([]Object, error)
	// RenderEndpoints returns the endpoints alone.
	RenderEndpoints(Hosts) []Object
	// EndpointInterfaces returns the interfaces of the endpoints of a node with the declared
	// rules. EveryInterface stands for an endpoint for every interface.
	EndpointInterfaces(Hosts) []string
	// FailsafesInForce returns the failsafe ports before any scoping. ScopeFailsafes returns
	// the same ports scoped to the permitted sources, and whether there is a difference.
	FailsafesInForce(Hosts) []Failsafe
	ScopeFailsafes(Hosts) (failsafes []Failsafe, scoped bool)
	// CanScopeFailsafes tells whether a node can have failsafe ports of its own.
	CanScopeFailsafes(node string) bool
}

// EveryInterface is the interface of an endpoint for all interfaces.
const EveryInterface = "*"

// Endpoint is what makes rules act on an interface of a node.
type Endpoint struct {
	Name, Node string
	// Interface is the name of the interface, EveryInterface, or empty if the endpoint stands
	// for addresses only.
	Interface string
	Addresses []netip.Addr
	// Managed says that the operator manages the endpoint. The rules depend on the other
	// fields, and another writer may have changed these fields: the policy, the version of the
	// rules, the interface whose rules act here (EveryInterface if the endpoint is for every
	// interface), and whether the rules deny.
	Managed         bool
	Policy, Version string
	RulesFor        string
	Enforcing       bool
}

// IsManagedFor tells whether the endpoint is managed, for a policy and a node.
func (e Endpoint) IsManagedFor(policy, node string) bool {
	return e.Managed && e.Policy == policy && e.Node == node
}

// Availability says whether a backend can be used, and how far.
type Availability struct {
	// Readable says that the operator's own objects can be compared and written.
	Readable bool
	// MayHideObjects says that there may be objects which the operator cannot see now.
	MayHideObjects bool
	// Partial says that only the operator's own objects are known: enough to roll back, and
	// not enough to judge or to restrict anything.
	Partial bool
	// Problem is the reason why the objects are unreliable, and writes are not allowed;
	// empty if there is no problem. Settling says that the only problem is an unfinished
	// first read, for a moment after a start.
	Problem  string
	Settling bool
	// Missing is the reason why hosts cannot be protected in this cluster, if the reason is
	// certain. Unavailable is the reason why the backend cannot be used now.
	Missing, Unavailable *Obstacle
}

// Obstacle is the reason why a declared protection is impossible: a reason of the
// conditions Programmed and Effective, and a message with what to do.
type Obstacle struct{ Reason, Message string }
