// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"maps"
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

// apiServerMemory is for how long an address that has counted does so at once when it
// comes back: an API server that starts anew takes its address out of the slice, and the
// only one leaves it empty.
const (
	apiServerMemory = 10 * time.Minute
	maxAPIServers   = 64
)

// steadyServers remembers since when addresses of API servers have been there without
// a break. What is there at the first look counts at once. The zero value, with a
// time, is ready; it is safe for concurrent use.
type steadyServers struct {
	After time.Duration

	mu     sync.Mutex
	looked bool
	since  map[netip.AddrPort]time.Time // of those that are shown
	gone   map[netip.AddrPort]time.Time // of those that counted, when they were last shown
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
		last, counted := s.gone[server]
		switch {
		case !s.looked, !known && counted && now.Sub(last) < apiServerMemory:
			begun = time.Time{}
		case !known:
			begun = now
		}
		since[server] = begun
		left := begun.Add(s.After).Sub(now)
		switch {
		case left <= 0:
			steady = append(steady, server)
			s.remember(server, now)
		case wait == 0 || left < wait:
			wait = left
		}
	}
	s.since = since
	s.looked = s.looked || len(shown) > 0
	return slices.Clip(steady), wait
}

// remember notes that an address counts now.
func (s *steadyServers) remember(server netip.AddrPort, now time.Time) {
	if s.gone == nil {
		s.gone = map[netip.AddrPort]time.Time{}
	}
	maps.DeleteFunc(s.gone, func(_ netip.AddrPort, last time.Time) bool { return now.Sub(last) >= apiServerMemory })
	if _, known := s.gone[server]; known || len(s.gone) < maxAPIServers {
		s.gone[server] = now
	}
}
