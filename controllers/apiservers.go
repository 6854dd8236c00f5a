// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

// apiServerTime is for how long an address must be in the API servers' EndpointSlice
// before it counts as an API server's. API servers put their slice right every 10
// seconds (k8s.io/kubernetes/pkg/controlplane, DefaultEndpointReconcilerInterval):
// what somebody else writes into it does not stay that long. An API server whose
// address is not let in for this time is none that could have written there.
const apiServerTime = 20 * time.Second

// steadyServers remembers since when addresses of API servers have been there without
// a break. What is there at the first look counts at once. The zero value, with a
// time, is ready; it is safe for concurrent use.
type steadyServers struct {
	After time.Duration

	mu     sync.Mutex
	looked bool
	since  map[netip.AddrPort]time.Time
}

// of returns those of the addresses that count, and how long it takes at least until
// more do; 0 if none is waiting. A nil one counts all.
func (s *steadyServers) of(shown []netip.AddrPort, now time.Time) (steady []netip.AddrPort, wait time.Duration) {
	if s == nil {
		return shown, 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	since := make(map[netip.AddrPort]time.Time, len(shown))
	for _, server := range shown {
		begun, known := s.since[server]
		switch {
		case !s.looked:
			begun = time.Time{}
		case !known:
			begun = now
		}
		since[server] = begun
		left := begun.Add(s.After).Sub(now)
		switch {
		case left <= 0:
			steady = append(steady, server)
		case wait == 0 || left < wait:
			wait = left
		}
	}
	s.since = since
	s.looked = s.looked || len(shown) > 0
	return slices.Clip(steady), wait
}
