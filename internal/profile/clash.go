// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"fmt"
	"math"
)

// clash says that two components have a port in common, and what to write: ports of
// the one that were not given by hand.
func (m *matrix) clash(a, b Component) error {
	moves, stays := b, a
	if _, byHand := m.usual[b.Name]; byHand {
		moves, stays = a, b
	}
	var shared Traffic
	for _, x := range moves.Traffic {
		for _, y := range stays.Traffic {
			if both, overlap := x.Intersect(y); overlap {
				shared = both
			}
		}
	}
	return fmt.Errorf("components %s (%v) and %s (%v) share a port, %s: if it is only of %s, write where %s listens, "+
		"or another port if it does not: spec: {profile: {components: [{name: %s, ports: [{protocol: %s, port: %d}]}]}}",
		stays.Name, stays.Traffic, moves.Name, moves.Traffic, shared, stays.Name, moves.Name, moves.Name, shared.Protocol, m.free(shared))
}

// free returns the next port that no component has.
func (m *matrix) free(after Traffic) uint16 {
	port := Traffic{Protocol: after.Protocol, First: after.Last, Last: after.Last}
	taken := func() bool {
		for _, c := range m.components {
			if !c.Translated && anyOverlaps(c.Traffic, []Traffic{port}) {
				return true
			}
		}
		return false
	}
	for taken() && port.First < math.MaxUint16 {
		port.First++
		port.Last = port.First
	}
	return port.First
}
