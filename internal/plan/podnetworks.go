// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"net/netip"
	"slices"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	corev1 "k8s.io/api/core/v1"

	"github.com/cpnp-dev/cpnp-operator/internal/plan/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// ofPools are the members of a set that no node brings.
const ofPools = "pools"

// podNetworks returns the networks that pods have addresses of, where what connects
// the pods shows them. What a Node object offers under spec.podCIDRs counts only where
// it is used: elsewhere these may be addresses of somebody else.
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
		add(ofPools, poolPrefixes(r.snapshot.Calico.Pools))
		r.keepLetIn(members)
	}
	for i := range r.snapshot.Nodes {
		node := &r.snapshot.Nodes[i]
		switch {
		case pods.From == profile.FromPodCIDRs:
			add(node.Name, podPrefixes(node))
		case r.cni == "ovn-kubernetes":
			add(node.Name, state.OVNPodNetworks(node))
		}
	}
	return members
}

// keepLetIn keeps what nodes offer under spec.podCIDRs as far as it is let in now:
// an earlier version of the operator let that in, and with host-local IPAM these are
// the pods' addresses. To drop them would cut all pods off at once.
func (r *hostResolver) keepLetIn(members members) {
	if len(members) == 0 {
		return // then the policy is held, and nothing is dropped
	}
	written := writtenNetworks(r.policy.Name, calico.SetPods, r.snapshot.Calico)
	for i := range r.snapshot.Nodes {
		node := &r.snapshot.Nodes[i]
		for _, network := range podPrefixes(node) {
			within := func(p netip.Prefix) bool { return p.Bits() <= network.Bits() && p.Overlaps(network) }
			if slices.ContainsFunc(written, within) && !slices.ContainsFunc(members[ofPools], within) {
				members[node.Name] = append(members[node.Name], network)
			}
		}
	}
}

// podsUnknown says what to do where a rule lets pods in and their addresses are not
// known; empty where they are, or where Calico, which may know, cannot be read now.
func (r *hostResolver) podsUnknown() string {
	set, needed := r.sets[calico.SetPods]
	if !needed || len(set.Members) > 0 {
		return ""
	}
	const lines = "give a peer with the pods' networks the role Pods, with these lines and your networks: " +
		"spec: {network: {peers: [{name: pods, role: Pods, cidrs: [10.0.0.0/16]}]}}"
	pods := profile.DetectPodNetworks(r.snapshot.Facts, r.cni)
	switch {
	case pods.From == profile.FromIPPools && !r.snapshot.Calico.IsReadable():
		return ""
	case pods.From == profile.FromIPPools:
		return "Calico has no IPPool, so that it gives pods no addresses: it only enforces policies, or uses host-local IPAM. " +
			"Which addresses pods have is not known: " + lines
	case pods.From == profile.FromNodeNetwork:
		return fmt.Sprintf("%s gives pods addresses of the nodes' own network, or of others that no node shows, so that which these are "+
			"is not known: %s", pods.Plugin, lines)
	case pods.From == profile.FromPodCIDRs:
		return "no node shows the network of its pods (spec.podCIDRs): " + lines
	}
	return "which addresses pods have with this CNI is not shown by the nodes: " + lines
}

// outsidePools notes nodes whose spec.podCIDRs Calico's pools do not cover: with
// host-local IPAM their pods would not be let in.
func (r *hostResolver) outsidePools() []string {
	pools := r.members(calico.SetPods)[ofPools]
	if _, needed := r.sets[calico.SetPods]; !needed || len(pools) == 0 ||
		profile.DetectPodNetworks(r.snapshot.Facts, r.cni).From != profile.FromIPPools {
		return nil
	}
	var outside []netip.Prefix
	for i := range r.snapshot.Nodes {
		for _, network := range podPrefixes(&r.snapshot.Nodes[i]) {
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

// poolPrefixes returns the networks that Calico gives pods' addresses from.
// Pools that are disabled count: pods may still have addresses of them.
func poolPrefixes(pools []v3.IPPool) []netip.Prefix {
	cidrs := make([]string, 0, len(pools))
	for _, pool := range pools {
		cidrs = append(cidrs, pool.Spec.CIDR)
	}
	return prefixesOf(cidrs)
}

// podPrefixes returns what a node offers its pods.
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
