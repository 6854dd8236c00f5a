// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"slices"

	"go4.org/netipx"

	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
)

// notesOnWiderFlows returns a note for each flow of spec.profile.flows with more sources at a
// component's ports than the component's allowFrom.
func (r *hostResolver) notesOnWiderFlows(hosts backend.Hosts) []string {
	var notes []string
	for _, flow := range slices.Concat(hosts.Required, hosts.Listed) {
		if !slices.ContainsFunc(r.profile.Flows, func(f profile.Flow) bool { return f.Name == flow.Name && f.Layer == profile.Added }) {
			continue
		}
		for _, component := range hosts.Components {
			overlaps := func(t profile.Traffic) bool { return slices.ContainsFunc(component.Ports, t.Overlaps) }
			if slices.ContainsFunc(flow.Traffic, overlaps) && hasMoreSources(hosts, flow.From, component.From) {
				notes = append(notes, fmt.Sprintf("the flow %s of spec.profile.flows lets in more at ports of component %s than its allowFrom",
					flow.Name, component.Name))
			}
		}
	}
	return notes
}

// hasMoreSources tells whether some address is among the sources and not among the others.
func hasMoreSources(hosts backend.Hosts, sources, others []backend.Source) bool {
	of := func(from []backend.Source) (*netipx.IPSet, bool) {
		alone := backend.Hosts{Sets: hosts.Sets, Required: []backend.Flow{{From: from, Traffic: []profile.Traffic{{}}}}}
		return alone.SourcesWithoutNodes(alone.Required, func(profile.Traffic) bool { return true })
	}
	allowed, allBounded := of(others)
	opened, bounded := of(sources)
	if !allBounded || !bounded {
		return allBounded
	}
	var more netipx.IPSetBuilder
	more.AddSet(opened)
	more.RemoveSet(allowed)
	set, err := more.IPSet()
	return err != nil || len(set.Ranges()) > 0
}
