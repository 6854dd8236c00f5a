// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"net/netip"
	"slices"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	corev1 "k8s.io/api/core/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// unreachable says that the policy would cut what must go on, as far as that can
// be told without looking at the policies of others.
func (r *hostResolver) unreachable(hosts calico.Hosts) *Held {
	if why := r.identityUnknown(); why != "" {
		return &Held{Reason: v1alpha1.ReasonAddressesUnknown, Why: why}
	}
	for _, component := range hosts.Components {
		if why := r.addressesUnknown(component); why != "" {
			return &Held{Component: component.Name, Reason: v1alpha1.ReasonAddressesUnknown, Why: why}
		}
	}
	if why := r.podsUnknown(); why != "" {
		return &Held{Reason: v1alpha1.ReasonEmptyPeerSet, Why: why}
	}
	return nil
}

// identityUnknown says what to do where an address is shown by several nodes, and is
// all that would let one of them in, or has let it in until now.
func (r *hostResolver) identityUnknown() string {
	_, needsAll := r.sets[calico.SetNodes]
	names := r.anonymous(func(n *corev1.Node) bool { return needsAll || r.ofControlPlane(n) })
	if len(names) > 0 {
		return r.unidentified(names)
	}
	for _, address := range r.SharedAddresses() {
		for _, set := range []string{calico.SetControlPlane, calico.SetNodes} {
			if !slices.Contains(r.servers, address) && slices.Contains(r.written(set), address) &&
				!letIn(r.members(set), address) && !r.spareable(address) {
				return fmt.Sprintf("address %s, which is let in as one of the %s, is shown by several nodes now (%s), and would be shut out: "+
					"see which of them has it, and correct the others", address, set, wording.ListNames(r.NodesShowing(address)))
			}
		}
	}
	return ""
}

// addressesUnknown says what to do where the component has addresses of its own that
// are not known of every control-plane node: rules that let in all the others would
// cut these off from each other, and from themselves.
func (r *hostResolver) addressesUnknown(component calico.Component) string {
	needed := r.needed(component)
	network := component.Address
	switch {
	case component.Interface != "" && !needed:
		return "" // what a node sends to itself does not come in there
	case component.Interface != "" && !network.IsValid():
		return "it is not known which addresses the nodes have on interface " + component.Interface + ", so that they would " +
			"cut each other off: set addressCIDR to their network there, and give a peer with it the role ControlPlane"
	case !network.IsValid() || r.addressesKnown(component, needed):
		return ""
	}
	return "it is not known which addresses the control-plane nodes have in " + network.String() + ", so that they would " +
		"cut each other, and themselves, off: give a peer with this network, or with the address of every node in it, the role ControlPlane"
}

// spareable says whether all nodes that show an address have another one of its IP
// version, so that each is let in without it.
func (r *hostResolver) spareable(address netip.Addr) bool {
	return !slices.ContainsFunc(r.NodesShowing(address), func(node string) bool {
		return !slices.ContainsFunc(r.OfNode(node), func(a netip.Addr) bool { return a.Is4() == address.Is4() })
	})
}

// needed says whether nodes must reach the component.
func (r *hostResolver) needed(component calico.Component) bool {
	alone := calico.Hosts{Components: []calico.Component{component}}
	return slices.ContainsFunc(r.profile.RequiredFlows(), func(f profile.Flow) bool {
		return comesFromOthers(f) && restricted(alone, f)
	})
}

// addressesKnown says whether, of every control-plane node, addresses in the
// component's network are known: it shows some, or those that are let in by their
// addresses cover the whole network, or are in it as many as the nodes that show none.
func (r *hostResolver) addressesKnown(component calico.Component, needed bool) bool {
	silent := r.silentIn(component.Address)
	if silent == 0 {
		return true
	}
	var named []netip.Prefix
	if needed {
		named = r.playing(v1alpha1.ExternalControlPlane)
	}
	for _, source := range component.From {
		named = append(named, source.Prefixes...)
	}
	single := map[netip.Addr]bool{}
	for _, prefix := range named {
		switch {
		case prefix.Bits() <= component.Address.Bits() && prefix.Overlaps(component.Address):
			return true
		case prefix.IsSingleIP() && component.Address.Contains(prefix.Addr()) && !r.shown[prefix.Addr()]:
			single[prefix.Addr()] = true
		}
	}
	return len(single) >= silent
}

// silentIn counts the control-plane nodes that show no address in a network.
func (r *hostResolver) silentIn(network netip.Prefix) int {
	silent := 0
	for i := range r.snapshot.Nodes {
		if r.ofControlPlane(&r.snapshot.Nodes[i]) && !slices.ContainsFunc(r.addresses[i], network.Overlaps) {
			silent++
		}
	}
	return silent
}

// anyForeign says whether an endpoint of somebody else is on the node, on
// whichever interface.
func anyForeign(node *corev1.Node, endpoints []v3.HostEndpoint) bool {
	addresses := state.NodeAddresses(node)
	return slices.ContainsFunc(endpoints, func(e v3.HostEndpoint) bool {
		return !calico.IsManagedEndpoint(&e) && (e.Spec.Node == node.Name || slices.ContainsFunc(e.Spec.ExpectedIPs, func(text string) bool {
			address, err := netip.ParseAddr(text)
			return err == nil && slices.Contains(addresses, address)
		}))
	})
}

// foreignEndpoint returns the host endpoint of somebody else that has the place
// on the node that ours would take. Where ours is there already, it stays.
func foreignEndpoint(hosts calico.Hosts, node string, endpoints []v3.HostEndpoint) string {
	wanted := calico.EndpointInterfaces(hosts)
	foreign := ""
	for i := range endpoints {
		e := &endpoints[i]
		if e.Spec.Node != node || !slices.Contains(wanted, e.Spec.InterfaceName) {
			continue
		}
		if calico.IsManagedEndpoint(e) {
			return ""
		}
		if foreign == "" {
			foreign = e.Name
		}
	}
	return foreign
}
