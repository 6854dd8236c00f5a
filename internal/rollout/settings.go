// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"time"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// settings are the declared settings of the rollout, or the defaults.
type settings struct {
	maxInFlight        int // how many nodes may be in flight
	manualConfirmation bool
	soak               time.Duration
	timeout            time.Duration
}

func settingsOf(declared *v1alpha1.Rollout, members int) settings {
	s := settings{soak: timing.DefaultSoak, timeout: timing.DefaultTimeout}
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
	s.maxInFlight = maxNodesInFlight(members, most, s.manualConfirmation)
	s.timeout += timing.Granularity
	if s.soak > 0 {
		s.soak += timing.Granularity
	}
	return s
}

// maxNodesInFlight returns how many nodes may be in flight: never more than the
// number of members etcd can lose without losing quorum. If etcd cannot lose a
// member, a single node may be in flight, and only if each node is confirmed by hand.
func maxNodesInFlight(members, most int, manual bool) int {
	spare := (members - 1) / 2
	if spare >= 1 {
		return min(most, spare)
	}
	if manual {
		return 1
	}
	return 0
}
