// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"time"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

const (
	// announceTime is how long observers have to announce themselves, by an answer
	// to the first round of all, before a node is begun without any.
	announceTime = 3 * time.Second
	// probeInterval is the pace of rounds while a node is under way.
	probeInterval = 5 * time.Second
	// patrolInterval is the pace of rounds on nodes that are done.
	patrolInterval = 5 * time.Minute
	// granularity of times in the API: a second more must seem to have passed
	// than is to.
	granularity = time.Second
)

// The defaults of the API, for a policy that declares no rollout.
const (
	defaultSoak    = 60 * time.Second
	defaultTimeout = 120 * time.Second
)

// settings are how to roll out.
type settings struct {
	maxInFlight        int // how many nodes may be under way
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

// limit returns how many nodes may be under way: never more than etcd can lose
// members and go on. Where it can lose none, only somebody who watches may
// risk one.
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
