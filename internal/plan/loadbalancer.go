// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
)

// undecidedSenders returns the questions about senders of required flows, for an administrator to
// answer before the first write. Probes cannot answer them: probes connect to nodes
// directly, and the cut of clients behind a load balancer would go unnoticed.
func (r *hostResolver) undecidedSenders(hosts backend.Hosts) []Held {
	var undecided []Held
	for _, role := range []profile.Role{profile.RoleAdmin, profile.RoleLoadBalancer, profile.RolePrometheus} {
		flow, needed := r.flowWithoutPeer(hosts, role)
		switch {
		case !needed:
		case role == profile.RoleLoadBalancer:
			if why := r.loadBalancerUnknown(flow); why != "" {
				undecided = append(undecided, Held{Reason: v1alpha1.ReasonLoadBalancerUnknown, Why: why})
			}
		case role == profile.RoleAdmin:
			undecided = append(undecided, Held{Reason: v1alpha1.ReasonPeerMissing, Why: unnamedPeer(flow, role, "admins", "10.9.0.0/16")})
		default:
			undecided = append(undecided, Held{Reason: v1alpha1.ReasonPeerMissing, Why: unnamedPeer(flow, role, "monitoring", "10.9.1.5/32")})
		}
	}
	return undecided
}

// flowWithoutPeer returns the first restricted required flow from a role without a peer.
func (r *hostResolver) flowWithoutPeer(hosts backend.Hosts, role profile.Role) (profile.Flow, bool) {
	if len(r.networksWithRole(v1alpha1.ExternalRole(role))) > 0 {
		return profile.Flow{}, false
	}
	i := slices.IndexFunc(r.profile.Flows, func(f profile.Flow) bool {
		return f.Required && comesFromOthers(f) && !r.isTranslated(f) && slices.Contains(f.From, role) &&
			(hosts.DenyUnlisted || restrictsFlow(hosts, f))
	})
	if i < 0 {
		return profile.Flow{}, false
	}
	return r.profile.Flows[i], true
}

func unnamedPeer(flow profile.Flow, role profile.Role, name, cidr string) string {
	return fmt.Sprintf("%s is required, and no peer has the role %s: add it to spec.network.peers, such as "+
		"{name: %s, role: %s, cidrs: [%s]}", flow.Name, role, name, role, cidr)
}

// loadBalancerUnknown returns the question whether clients reach the API servers through a
// load balancer that replaces their addresses. The result is empty if the cluster shows
// direct connections, or the policy has loadBalancer: None in spec.profile.
func (r *hostResolver) loadBalancerUnknown(flow profile.Flow) string {
	if r.policy.Spec.Profile.LoadBalancer == v1alpha1.LoadBalancerNone {
		return ""
	}
	endpoints := profile.APIServerEndpoints(r.snapshot.Facts)
	foreign := slices.DeleteFunc(slices.Clone(endpoints), r.onControlPlane)
	if len(endpoints) > 0 && len(foreign) == 0 {
		return ""
	}
	found := "The cluster does not show at which address nodes and pods reach the API servers"
	cidr := "10.0.0.100/32"
	if len(foreign) > 0 {
		found = fmt.Sprintf("Members of the cluster reach the API servers at %s (%s), which is no address of a control-plane node",
			foreign[0], foreign[0].Shown)
		if address, is := foreign[0].ParseAddress(); is {
			cidr = netip.PrefixFrom(address, address.BitLen()).String()
		}
	}
	return fmt.Sprintf("%s. Connections through a load balancer come from the load balancer's addresses, and would be denied (%s). "+
		"If there is a load balancer, add the addresses from which it connects to spec.network.peers, such as "+
		"{name: load-balancer, role: LoadBalancer, cidrs: [%s]}. If clients arrive with their own addresses, declare that: "+
		`kubectl patch cpnp %s --type merge -p '{"spec":{"profile":{"loadBalancer":"None"}}}'`, found, flow.Name, cidr, r.policy.Name)
}

// onControlPlane tells whether an endpoint is an address of a control-plane node or of an
// API server.
func (r *hostResolver) onControlPlane(endpoint profile.Endpoint) bool {
	address, is := endpoint.ParseAddress()
	if !is {
		return false
	}
	if slices.Contains(r.servers, address) {
		return true
	}
	for i := range r.nodes {
		if r.ofControlPlane(r.nodes[i]) && slices.Contains(r.OfNode(r.nodes[i].Name), address) {
			return true
		}
	}
	return false
}

// virtualEndpoints returns the endpoints of the API servers whose address identifies no node. A
// node with a virtual address connects to its own API server by the virtual address, with the
// same address as the source.
func (r *hostResolver) virtualEndpoints() []netip.AddrPort {
	var out []netip.AddrPort
	for _, endpoint := range profile.APIServerEndpoints(r.snapshot.Facts) {
		if address, is := endpoint.ParseAddress(); is && !r.onControlPlane(endpoint) && !r.shown[address] {
			out = append(out, netip.AddrPortFrom(address, endpoint.Port))
		}
	}
	return out[:min(len(out), maxVirtual)]
}

// maxVirtual bounds how many virtual addresses are probed, and are let in to themselves.
const maxVirtual = 8
