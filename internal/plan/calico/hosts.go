// SPDX-License-Identifier: Apache-2.0

// Package calico renders the protection of control-plane hosts as objects of
// Calico's projectcalico.org/v3. It is pure: the same input gives the same
// objects, in the order in which they may be written.
//
// What is rendered, and why so, is told in docs/calico.md.
package calico

import (
	"net/netip"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/cpnp-dev/cpnp-operator/internal/profile"
)

// Hosts is what host protection is rendered from: a policy's intent with every
// role, peer and port resolved.
type Hosts struct {
	// Policy is the name of the policy.
	Policy string
	// Nodes are the nodes that are protected.
	Nodes []Node
	// Sets are the sets of addresses that sources refer to by name.
	Sets []Set
	// Components are what is restricted.
	Components []Component
	// Required are flows that no restriction may cut.
	Required []Flow
	// Listed are the further flows of the profile. They matter where everything
	// that is not listed is denied.
	Listed []Flow
	// DenyUnlisted denies everything that is neither a component's, nor
	// required, nor listed.
	DenyUnlisted bool
	// ScopeFailsafes narrows Felix's failsafe ports to the components' sources.
	ScopeFailsafes bool
	// Failsafes are the failsafe ports that are in force; nil for Felix's own.
	Failsafes []v3.ProtoPort
	// Servers are addresses of API servers that no node shows. The node that has
	// one may talk to itself there.
	Servers []netip.Addr
}

// Node is a node that is protected.
type Node struct {
	Name string
	// Addresses are all that the node has.
	Addresses []netip.Addr
	// Enforced says that the node is to have rules now. Before that it has no
	// endpoint of ours, so that nothing at all changes on it.
	Enforced bool
	// Older is the version of the rules that the node still has, where it is not
	// to have the present ones yet. Its endpoints are not of this rendering then,
	// except for what a version does not decide; empty otherwise.
	Older string
	// Interfaces are those of the endpoints that a node with Older has; they may be
	// others than the present rules call for. "" stands for every interface.
	Interfaces []string
	// Leaving are interfaces for which the node has an endpoint, though the present
	// rules call for none. Those that are being tried go for these too: an endpoint
	// that is named comes before that of every interface. They are deleted once the
	// node stays as it is.
	Leaving []string
	// Shared are addresses that the node shows beside others: it reaches itself by
	// them, and they let nobody else in.
	Shared []netip.Addr
	// Foreign says that an endpoint of somebody else is in the place of ours.
	// Then none is rendered but what it has: of two, the alphabetically first would
	// win, and either the policies of others or ours would be void on the node.
	Foreign bool
	// KeepFailsafes says that the node's failsafe ports are not narrowed: policies
	// of others may govern an interface of the node, or it is still being found
	// out whether our rules are right for it.
	KeepFailsafes bool
}

// Set is a named set of addresses that follows the cluster.
type Set struct {
	// Name of the set in labels and names of objects, such as control-plane.
	Name string
	// Members are the set's networks by the node that brings them, so that a
	// node that joins changes a small object only.
	Members map[string][]netip.Prefix
}

// Component is a part of the control plane in the host's network.
type Component struct {
	Name string
	// Ports of the component: TCP, UDP and SCTP.
	Ports []profile.Traffic
	From  []Source
	// RequiredOnly says that nobody is let in but those whom the profile requires.
	RequiredOnly bool
	// Interface restricts the component to traffic that arrives there.
	Interface string
	// Address restricts the component to traffic to these addresses; invalid
	// when there is no such restriction.
	Address netip.Prefix
}

// Source is who may connect: a set, some networks, or, with neither, anybody.
type Source struct {
	Set      string
	Prefixes []netip.Prefix
}

// Flow is traffic that comes in at the nodes and must, or may, go on.
type Flow struct {
	Name string
	From []Source
	// Destinations are the addresses that it is sent to, where these are not
	// the nodes' own.
	Destinations []netip.Prefix
	Traffic      []profile.Traffic
}

// Object is an object of the cluster.
type Object interface {
	metav1.Object
	runtime.Object
}

// Render returns the objects in the order in which they may be written: what
// allows comes before what denies, policies before the endpoints that they
// select, and narrower failsafes last. Every prefix of the order leaves open
// what the whole leaves open. Objects are removed in the reverse order.
func Render(hosts Hosts) ([]Object, error) {
	if err := hosts.check(); err != nil {
		return nil, err
	}
	objects := []Object{tier()}
	for _, set := range networkSets(hosts) {
		objects = append(objects, set)
	}
	for _, policy := range policies(hosts) {
		objects = append(objects, policy)
	}
	objects = append(objects, Endpoints(hosts)...)
	for _, configuration := range felixConfigurations(hosts) {
		objects = append(objects, configuration)
	}
	return objects, nil
}

// Stages of the writes, in their order. Felix learns of each kind of object
// through a stream of its own, so that the order in which objects are written
// is not that in which it sees them: before the next stage, it must have had
// the time to see the one before.
const (
	StageAddresses = iota + 1 // the tier, and the sets that rules refer to
	StagePolicies             // policies, which concern nobody before an endpoint has their version
	StageEndpoints            // endpoints
	StageNarrow               // failsafe ports
)

// Stage returns the stage in which an object is written. It is removed in the
// reverse order.
func Stage(object Object) int {
	switch object.(type) {
	case *v3.GlobalNetworkPolicy:
		return StagePolicies
	case *v3.HostEndpoint:
		return StageEndpoints
	case *v3.FelixConfiguration:
		return StageNarrow
	}
	return StageAddresses
}
