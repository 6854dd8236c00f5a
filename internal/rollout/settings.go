// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"time"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

const (
	// announceTime is the time for observers to announce their presence, by an
	// answer to the first probe round, before a node is started without observers.
	announceTime = 3 * time.Second
	// probeInterval is the time between probe rounds while a node is in flight.
	probeInterval = 5 * time.Second
	// patrolInterval is the time between probe rounds of enforced nodes.
	patrolInterval = 5 * time.Minute
	// granularity of times in the API. A second is added to every declared time, so
	// at least the declared time passes.
	granularity = time.Second
)

// The defaults of the API, for a policy without a declared rollout.
const (
	defaultSoak    = 60 * time.Second
	defaultTimeout = 120 * time.Second
)

// settings are the declared settings of the rollout, or the defaults.
type settings struct {
	maxInFlight        int // how many nodes may be in flight
	manualConfirmation bool
	soak               time.Duration
	timeout            time.Duration
}

func settingsOf(declared *v1alpha1.Rollout, nodes int) settings {
	s := settings{soak: defaultSoak, timeout: defaultTimeout}
	most := 1
	if declared != nil {
		s.manualConfirmation = declared.Confirm == v1alpha1.ConfirmManual
		most = max(most, int(declared.MaxUnavailable))
		if declared.SoakSeconds != nil {
			s.soak = time.Duration(*declared.SoakSeconds) * time.Second
		}
		if declared.TimeoutSeconds > 0 {
			s.timeout = time.Duration(declared.TimeoutSeconds) * time.Second
		}
	}
	s.maxInFlight = maxNodesInFlight(nodes, most, s.manualConfirmation)
	s.timeout += granularity
	if s.soak > 0 {
		s.soak += granularity
	}
	return s
}

// maxNodesInFlight returns how many nodes may be in flight: never more than the
// number of members etcd can lose without losing quorum. If etcd cannot lose a
// member, a single node may be in flight, and only if each node is confirmed by hand.
func maxNodesInFlight(nodes, most int, manual bool) int {
	spare := (nodes - 1) / 2
	if spare >= 1 {
		return min(most, spare)
	}
	if manual {
		return 1
	}
	return 0
}
