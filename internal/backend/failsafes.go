// SPDX-License-Identifier: Apache-2.0

package backend

import (
	"strings"

	"github.com/cpnp-dev/cpnp-operator/internal/profile"
)

// Failsafe is a port that a backend leaves open regardless of policies.
type Failsafe struct {
	Protocol string `json:"protocol"`
	Port     uint16 `json:"port"`
	// Net is the network from which the port is open; empty if the port is open from
	// everywhere. A backend may put a text here that is no network.
	Net string `json:"net,omitempty"`
}

// Traffic returns the traffic to the port.
func (f Failsafe) Traffic() profile.Traffic {
	return profile.Traffic{Protocol: profile.Protocol(strings.ToUpper(f.Protocol)), First: f.Port, Last: f.Port}
}
