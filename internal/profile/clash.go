// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"fmt"
	"math"
)

// portClashError returns an error about two components with the same port. The error
// says what to write: another port for a component without ports in the policy.
func (m *matrix) portClashError(a, b Component) error {
	moves, stays := b, a
	if _, byHand := m.replaced[b.Name]; byHand {
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
	return fmt.Errorf("components %s (%v) and %s (%v) share a port, %s: if only %s uses the port, write where %s listens, "+
		"or another port if %s does not listen: spec: {profile: {components: [{name: %s, ports: [{protocol: %s, port: %d}]}]}}",
		stays.Name, stays.Traffic, moves.Name, moves.Traffic, shared, stays.Name, moves.Name, moves.Name,
		moves.Name, shared.Protocol, m.nextFreePort(shared))
}

// nextFreePort returns the next port that no component has.
func (m *matrix) nextFreePort(after Traffic) uint16 {
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
