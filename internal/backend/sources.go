// SPDX-License-Identifier: Apache-2.0

package backend

import (
	"slices"

	"go4.org/netipx"

	"github.com/cpnp-dev/cpnp-operator/internal/profile"
)

// PermittedSources returns the addresses that may send matching traffic: the sources of
// components and flows with such traffic, and the nodes. If every address may send the
// traffic, the result is not bounded.
func (h Hosts) PermittedSources(flows []Flow, matches func(profile.Traffic) bool) (set *netipx.IPSet, bounded bool) {
	all, bounded := h.collectSources(flows, matches)
	for _, node := range h.Nodes {
		for _, address := range node.Addresses {
			all.Add(address)
		}
	}
	set, err := all.IPSet()
	return set, bounded && err == nil // without a set, the failsafe port stays open, because a wrong scope would cut traffic
}

// SourcesWithoutNodes returns the result of PermittedSources without the nodes: each node
// may send only to itself.
func (h Hosts) SourcesWithoutNodes(flows []Flow, matches func(profile.Traffic) bool) (set *netipx.IPSet, bounded bool) {
	all, bounded := h.collectSources(flows, matches)
	set, err := all.IPSet()
	return set, bounded && err == nil
}

func (h Hosts) collectSources(flows []Flow, matches func(profile.Traffic) bool) (all *netipx.IPSetBuilder, bounded bool) {
	all, bounded = &netipx.IPSetBuilder{}, true
	for _, component := range h.Components {
		if slices.ContainsFunc(component.Ports, matches) {
			bounded = h.addSources(all, component.From) && bounded
		}
	}
	for _, flow := range flows {
		if slices.ContainsFunc(flow.Traffic, matches) {
			bounded = h.addSources(all, flow.From) && bounded
		}
	}
	return all, bounded
}

// addSources adds the networks of the sources to the set, and says whether all sources
// are bounded.
func (h Hosts) addSources(set *netipx.IPSetBuilder, sources []Source) bool {
	for _, source := range sources {
		if source.Set == "" && len(source.Prefixes) == 0 {
			return false
		}
		for _, prefix := range source.Prefixes {
			set.AddPrefix(prefix)
		}
		for _, named := range h.Sets {
			if named.Name != source.Set {
				continue
			}
			for _, prefixes := range named.Members {
				for _, prefix := range prefixes {
					set.AddPrefix(prefix)
				}
			}
		}
	}
	return true
}
