// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// holdForUnknownAddresses returns the reason to hold the policy if the policy would cut a required
// flow. Foreign policies are not considered here.
func (r *hostResolver) holdForUnknownAddresses(hosts backend.Hosts) *Held {
	if why := r.identityUnknown(); why != "" {
		return &Held{Reason: v1alpha1.ReasonAddressesUnknown, Why: why}
	}
	for _, component := range hosts.Components {
		if why := r.addressesUnknown(component); why != "" {
			return &Held{Component: component.Name, Reason: v1alpha1.ReasonAddressesUnknown, Why: why}
		}
	}
	if why := r.podsUnknown(); why != "" {
		return &Held{Reason: v1alpha1.ReasonAddressesUnknown, Why: why}
	}
	return nil
}

// identityUnknown returns what to do about an address that several nodes show, if a node
// with the address is, or was until now, let in only by the address.
func (r *hostResolver) identityUnknown() string {
	_, needsAll := r.sets[backend.SetNodes]
	names := r.unidentifiedNodes(func(n *corev1.Node) bool { return needsAll || r.ofControlPlane(n) })
	if len(names) > 0 {
		return r.explainSharedAddresses(names)
	}
	for _, address := range r.SharedAddresses() {
		for _, set := range []string{backend.SetControlPlane, backend.SetNodes} {
			if !slices.Contains(r.servers, address) && slices.Contains(r.addressesInSet(set), address) &&
				!membersContain(r.membersOf(set), address) && !r.isDispensableAddress(address) {
				return fmt.Sprintf("address %s, which is let in as one of the %s, is shown by several nodes now (%s), and would be shut out: "+
					"see which of them has it, and correct the others", address, set, wording.ListNames(r.NodesShowing(address)))
			}
		}
	}
	return ""
}

// addressesUnknown returns what to do if the component has a separate address or interface,
// and some addresses of control-plane nodes there are unknown. Rules for the known
// addresses alone would cut off the other nodes from each other, and each from itself.
func (r *hostResolver) addressesUnknown(component backend.Component) string {
	needed := r.isTargetOfRequiredFlow(component)
	network := component.Address
	switch {
	case component.Interface != "" && !needed:
		return "" // packets of a node to itself do not enter by this interface
	case component.Interface != "" && !network.IsValid():
		return "the addresses of the nodes are unknown on interface " + component.Interface + ", so that they would " +
			"cut each other off: set addressCIDR to the network of the interface, and give a peer with this network the role ControlPlane"
	case !network.IsValid() || r.addressesKnown(component, needed):
		return ""
	}
	return "the addresses of the control-plane nodes are unknown in " + network.String() + ", so that they would " +
		"cut each other, and themselves, off: give a peer with this network, or with the address of every node in it, the role ControlPlane"
}

// isDispensableAddress tells whether every node that shows the address has another address of
// the same IP version, and so is let in without the shared address.
func (r *hostResolver) isDispensableAddress(address netip.Addr) bool {
	return !slices.ContainsFunc(r.NodesShowing(address), func(node string) bool {
		return !slices.ContainsFunc(r.OfNode(node), func(a netip.Addr) bool { return a.Is4() == address.Is4() })
	})
}

// isTargetOfRequiredFlow tells whether a required flow from other machines goes to the component.
func (r *hostResolver) isTargetOfRequiredFlow(component backend.Component) bool {
	alone := backend.Hosts{Components: []backend.Component{component}}
	return slices.ContainsFunc(r.profile.RequiredFlows(), func(f profile.Flow) bool {
		return comesFromOthers(f) && restrictsFlow(alone, f)
	})
}

// addressesKnown tells whether the address of every control-plane node in the component's
// network is known: the node shows an address there, or an admitted prefix covers the whole
// network, or the network contains as many admitted single addresses, shown by no node, as
// there are silent nodes.
func (r *hostResolver) addressesKnown(component backend.Component, needed bool) bool {
	silent := r.silentIn(component.Address)
	if silent == 0 {
		return true
	}
	var named []netip.Prefix
	if needed {
		named = r.networksWithRole(v1alpha1.ExternalControlPlane)
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

// silentIn counts the control-plane nodes that show no address in the network.
func (r *hostResolver) silentIn(network netip.Prefix) int {
	silent := 0
	for i := range r.snapshot.Nodes {
		if r.ofControlPlane(r.snapshot.Nodes[i]) && !slices.ContainsFunc(r.addresses[i], network.Overlaps) {
			silent++
		}
	}
	return silent
}

// anyForeign tells whether the node has a foreign host endpoint on any interface.
func anyForeign(node *corev1.Node, endpoints []backend.Endpoint) bool {
	addresses := state.NodeAddresses(node)
	return slices.ContainsFunc(endpoints, func(e backend.Endpoint) bool {
		return !e.Managed && (e.Node == node.Name || slices.ContainsFunc(e.Addresses, func(a netip.Addr) bool {
			return slices.Contains(addresses, a)
		}))
	})
}

// foreignEndpoint returns the foreign endpoint in the place of the managed endpoint, on the
// wanted interfaces.
// If the managed endpoint exists already, the managed endpoint stays and the result is
// empty.
func foreignEndpoint(wanted []string, node string, endpoints []backend.Endpoint) string {
	foreign := ""
	for i := range endpoints {
		e := &endpoints[i]
		if e.Node != node || !slices.Contains(wanted, e.Interface) {
			continue
		}
		if e.Managed {
			return ""
		}
		if foreign == "" {
			foreign = e.Name
		}
	}
	return foreign
}
