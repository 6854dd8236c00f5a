// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// ofPools is the key of members that come from IP pools and from no node.
const ofPools = "pools"

// podNetworks returns the networks of pods' addresses, as shown by the plugin that connects
// pods. A Node's spec.podCIDRs count only if the plugin uses spec.podCIDRs; otherwise the
// networks may belong to other machines.
func (r *hostResolver) podNetworks() members {
	members := members{}
	add := func(of string, prefixes []netip.Prefix) {
		if len(prefixes) > 0 {
			members[of] = prefixes
		}
	}
	pods := profile.DetectPodNetworks(r.snapshot.Facts, r.cni)
	add(ofPools, prefixesOf(pods.CIDRs))
	if pods.From == profile.FromIPPools {
		add(ofPools, r.live.PodNetworks())
		r.keepLetIn(members)
	}
	for _, node := range r.snapshot.Nodes {
		switch {
		case pods.From == profile.FromPodCIDRs:
			add(node.Name, podPrefixes(node))
		case r.cni == "ovn-kubernetes":
			add(node.Name, state.OVNPodNetworks(node))
		}
	}
	return members
}

// keepLetIn keeps the admitted networks under spec.podCIDRs. An earlier version of the
// operator let in such networks, and with host-local IPAM pods really have addresses there:
// dropping the networks would cut off all pods at once.
func (r *hostResolver) keepLetIn(members members) {
	if len(members) == 0 {
		return // the policy is held, and no network is dropped
	}
	written := r.networksInSet(backend.SetPods)
	for _, node := range r.snapshot.Nodes {
		for _, network := range podPrefixes(node) {
			within := func(p netip.Prefix) bool { return p.Bits() <= network.Bits() && p.Overlaps(network) }
			if slices.ContainsFunc(written, within) && !slices.ContainsFunc(members[ofPools], within) {
				members[node.Name] = append(members[node.Name], network)
			}
		}
	}
}

// podsUnknown returns what to do if a rule admits pods and the pods' addresses are unknown.
// The result is empty if the addresses are known, or if Calico may know them and cannot be
// read now.
func (r *hostResolver) podsUnknown() string {
	set, needed := r.sets[backend.SetPods]
	if !needed || len(set.Members) > 0 {
		return ""
	}
	const lines = "give a peer with the pods' networks the role Pods, with these lines and your networks: " +
		"spec: {network: {peers: [{name: pods, role: Pods, cidrs: [10.0.0.0/16]}]}}"
	pods := profile.DetectPodNetworks(r.snapshot.Facts, r.cni)
	switch {
	case pods.From == profile.FromIPPools && !r.live.Availability().Readable:
		return ""
	case pods.From == profile.FromIPPools:
		return "Calico has no IPPool, so that it gives pods no addresses: it only enforces policies, or uses host-local IPAM. " +
			"The addresses of pods are unknown: " + lines
	case pods.From == profile.FromNodeNetwork:
		return fmt.Sprintf("%s gives pods addresses of the nodes' own network, or of networks that no node shows, so that the addresses of pods "+
			"are unknown: %s", pods.Plugin, lines)
	case pods.From == profile.FromPodCIDRs:
		return "no node shows the network of its pods (spec.podCIDRs): " + lines
	}
	return "nodes do not show the addresses of pods with this CNI: " + lines
}

// outsidePools returns a note about a network under spec.podCIDRs outside of Calico's
// pools. With host-local IPAM, pods of such a node would not be let in.
func (r *hostResolver) outsidePools() []string {
	pools := r.membersOf(backend.SetPods)[ofPools]
	if _, needed := r.sets[backend.SetPods]; !needed || len(pools) == 0 ||
		profile.DetectPodNetworks(r.snapshot.Facts, r.cni).From != profile.FromIPPools {
		return nil
	}
	var outside []netip.Prefix
	for i := range r.snapshot.Nodes {
		for _, network := range podPrefixes(r.snapshot.Nodes[i]) {
			if !slices.ContainsFunc(pools, func(p netip.Prefix) bool { return p.Bits() <= network.Bits() && p.Overlaps(network) }) {
				outside = append(outside, network)
			}
		}
	}
	if len(outside) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("pods are let in by Calico's IPPools, of which none covers %s, which a node has under spec.podCIDRs: "+
		"if Calico uses host-local IPAM, give a peer with the pods' networks the role Pods", slices.MinFunc(outside, netip.Prefix.Compare))}
}

// podPrefixes returns the networks of pods that the Node shows.
func podPrefixes(node *corev1.Node) []netip.Prefix { return state.PodNetworks(node) }

func prefixesOf(cidrs []string) []netip.Prefix {
	var prefixes []netip.Prefix
	for _, cidr := range cidrs {
		if prefix, err := netip.ParsePrefix(cidr); err == nil {
			prefixes = append(prefixes, prefix.Masked())
		}
	}
	return prefixes
}
