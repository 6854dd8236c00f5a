// SPDX-License-Identifier: Apache-2.0

// Package calico renders the protection of control-plane hosts as objects of Calico's
// projectcalico.org/v3. The package is pure: the same input gives the same objects, in
// the order in which the objects may be written.
//
// docs/calico.md explains what is rendered, and why.
package calico

import (
	"net/netip"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/cpnp-dev/cpnp-operator/internal/profile"
)

// Hosts is the input for host protection: a policy's intent, with every role, peer and
// port resolved.
type Hosts struct {
	// Policy is the name of the policy.
	Policy string
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
	// ScopeFailsafes scopes Felix's failsafe ports to the sources of the components.
	ScopeFailsafes bool
	// Failsafes are the failsafe ports in force; nil if Felix's defaults are in force.
	Failsafes []v3.ProtoPort
	// Servers are addresses of API servers that no node shows. A node with such an
	// address may connect to the address.
	Servers []netip.Addr
}

// Node is a protected node.
type Node struct {
	Name string
	// Addresses are all addresses of the node.
	Addresses []netip.Addr
	// Enforced says that the node has to have a ruleset now. Until then, the node has
	// no managed endpoint, and nothing changes on the node.
	Enforced bool
	// Older is the version of the ruleset that the node still has, if the node must not
	// have the current ruleset yet; empty otherwise. The node keeps its endpoints of
	// the older ruleset; only the fields that do not depend on a ruleset follow the
	// current input.
	Older string
	// Interfaces are the interfaces of the endpoints that a node with Older has. The
	// current ruleset may call for other interfaces. "" stands for every interface.
	Interfaces []string
	// Leaving are interfaces for which the node has an endpoint, although the current
	// ruleset calls for none. A ruleset that is tried is tried on these endpoints too,
	// because an endpoint for a named interface precedes the endpoint for every
	// interface. The endpoints are deleted once the node is enforced.
	Leaving []string
	// Shared are addresses that several nodes show. The node may reach its own ports at
	// a shared address; a shared address lets in no other sender.
	Shared []netip.Addr
	// Foreign says that a foreign endpoint governs the interfaces of the managed
	// endpoint. Then no endpoint is rendered for the node, except those that the node
	// has already: of two endpoints, Calico uses the alphabetically first, so that
	// either the foreign policies or the managed policies would be void on the node.
	Foreign bool
	// KeepFailsafes says that the node's failsafe ports stay open: foreign policies may
	// govern an interface of the node, or the node's rules are still being tried.
	KeepFailsafes bool
}

// Set is a named set of addresses that follows the cluster.
type Set struct {
	// Name of the set in labels and names of objects, such as control-plane.
	Name string
	// Members are the networks of the set, by the node that contributes the networks,
	// so that a joining node changes only a small object.
	Members map[string][]netip.Prefix
}

// Component is a part of the control plane that listens in the host's network.
type Component struct {
	Name string
	// Ports of the component: TCP, UDP and SCTP.
	Ports []profile.Traffic
	From  []Source
	// RequiredOnly says that only the sources of required flows are let in.
	RequiredOnly bool
	// Interface limits the restriction of the component to traffic that arrives at this
	// interface.
	Interface string
	// Address limits the restriction of the component to traffic to these addresses;
	// invalid if there is no such limit.
	Address netip.Prefix
}

// Source says who may connect: a set, or some networks. A source with neither is
// anybody.
type Source struct {
	Set      string
	Prefixes []netip.Prefix
}

// Flow is traffic that arrives at the nodes and must, or may, be let through.
type Flow struct {
	Name string
	From []Source
	// Destinations are the addresses to which the traffic is sent, if these are not the
	// addresses of the nodes.
	Destinations []netip.Prefix
	Traffic      []profile.Traffic
}

// Object is an object of the cluster.
type Object interface {
	metav1.Object
	runtime.Object
}

// Render returns the objects in a safe order of writes: objects that allow come before
// objects that deny, policies come before the endpoints that the policies select, and
// scoped failsafe ports come last. After every write, at least the traffic of the final
// state is allowed. Objects are removed in the reverse order.
func Render(hosts Hosts) ([]Object, error) {
	if err := hosts.checkRenderable(); err != nil {
		return nil, err
	}
	objects := []Object{newTier()}
	for _, set := range networkSets(hosts) {
		objects = append(objects, set)
	}
	for _, policy := range renderPolicies(hosts) {
		objects = append(objects, policy)
	}
	objects = append(objects, RenderEndpoints(hosts)...)
	for _, configuration := range felixConfigurations(hosts) {
		objects = append(objects, configuration)
	}
	return objects, nil
}

// Write stages, in their order. Felix watches each kind of object through a separate
// stream, and so may see objects in another order than the order of the writes. Before
// a stage is written, Felix must have had the time to see the stage before.
const (
	StageAddresses       = iota + 1 // the tier, and the sets to which rules refer
	StagePolicies                   // policies, which concern nobody before an endpoint has their version
	StageEndpoints                  // endpoints
	StageScopedFailsafes            // failsafe ports
)

// WriteStage returns the write stage of an object. Objects are removed in the reverse
// order of the stages.
func WriteStage(object Object) int {
	switch object.(type) {
	case *v3.GlobalNetworkPolicy:
		return StagePolicies
	case *v3.HostEndpoint:
		return StageEndpoints
	case *v3.FelixConfiguration:
		return StageScopedFailsafes
	}
	return StageAddresses
}
