// SPDX-License-Identifier: Apache-2.0

package backend

import (
	"net/netip"

	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
)

// Hosts is the resolved intent of a policy: what is to be rendered for hosts.
type Hosts struct {
	// Policy is the name of the policy.
	Policy string
	// Version is the version of the rules: a hash. Live.WithRulesets sets the version.
	Version string
	// Nodes are the protected nodes.
	Nodes []Node
	// Sets are the sets of addresses to which sources refer by name.
	Sets []Set
	// Components are the restricted components.
	Components []Component
	// Required are flows that no restriction may cut.
	Required []Flow
	// Listed are the further flows of the profile. Listed flows matter only if all
	// traffic that is not listed is denied.
	Listed []Flow
	// DenyUnlisted denies all traffic that does not belong to a component and is
	// neither required nor listed.
	DenyUnlisted bool
	// ScopeFailsafes scopes the failsafe ports to the sources of the components.
	ScopeFailsafes bool
	// Failsafes are the failsafe ports in force; nil if the defaults of the backend are
	// in force.
	Failsafes []Failsafe
	// Servers are addresses of API servers that no node shows. A node with such an
	// address may connect to the address.
	Servers []netip.Addr
}

// Node is a protected node.
type Node struct {
	Name string
	// Addresses are all addresses of the node.
	Addresses []netip.Addr
	// Ruleset is the ruleset to render for the node. Without a ruleset the node has no
	// managed endpoint, and nothing changes on the node. A node with another version than
	// Hosts.Version keeps the endpoints of the other version; only fields that are
	// independent of rulesets follow the current input.
	Ruleset rollout.Ruleset
	// Interfaces are the interfaces of the endpoints that a node with another version
	// has. The current version may call for other interfaces. "" stands for every
	// interface.
	Interfaces []string
	// Leaving are interfaces for which the node has an endpoint, although the current
	// version calls for none. A new ruleset is tried on these endpoints too, because an
	// endpoint for a named interface precedes the endpoint for every interface. The
	// endpoints are deleted once the node is enforced.
	Leaving []string
	// Shared are addresses of several nodes. The node may reach its own ports at a shared
	// address; a shared address lets in no other sender.
	Shared []netip.Addr
	// Foreign says that a foreign endpoint governs the interfaces of the managed endpoint.
	// Then no endpoint is rendered for the node, except for existing endpoints of the node:
	// of two endpoints for an interface, only one has an effect.
	Foreign bool
	// KeepFailsafes says that failsafe ports cannot be scoped on the node: foreign
	// policies may govern an interface of the node, or the backend has no configuration
	// for a node of that name.
	KeepFailsafes bool
}

// Set is a set of addresses that follows the cluster.
type Set struct {
	// Name of the set in labels and names of objects, such as control-plane.
	Name string
	// Members are the networks of the set, by contributing node. A joining node then
	// changes only a small object.
	Members map[string][]netip.Prefix
}

// Names of the sets of addresses that follow the cluster.
const (
	SetControlPlane = "control-plane"
	SetNodes        = "nodes"
	SetPods         = "pods"
	SetAPIServers   = "api-servers"
)

// Component is a restricted component.
type Component struct {
	Name string
	// Ports of the component: TCP, UDP and SCTP.
	Ports []profile.Traffic
	From  []Source
	// RequiredOnly says that only the sources of required flows are let in.
	RequiredOnly bool
	// Interface limits the restriction of the component to traffic that arrives at the
	// named interface.
	Interface string
	// Address limits the restriction of the component to traffic to these addresses;
	// invalid if there is no such limit.
	Address netip.Prefix
}

// Source is the source of permitted traffic: the set of a name, or fixed networks.
// Without either, a source is everywhere.
type Source struct {
	Set      string
	Prefixes []netip.Prefix
}

// Flow is permitted traffic to the protected nodes.
type Flow struct {
	Name string
	From []Source
	// Destinations are the destination addresses of the traffic; empty for the addresses of
	// the nodes.
	Destinations []netip.Prefix
	Traffic      []profile.Traffic
}

// HasOlderRules tells whether a node has rules of another version than the declared one.
func (h Hosts) HasOlderRules(node Node) bool {
	return node.Ruleset.Restricts() && node.Ruleset.Version != h.Version
}
