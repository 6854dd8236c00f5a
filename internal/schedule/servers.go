// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// timing.APIServerReturn is how long a known address counts again at once when the address comes
// back. An API server removes its address from the EndpointSlice while restarting, and a
// single API server leaves the EndpointSlice empty.
const (
	maxAPIServers = 64
)

// SteadyServers remembers since when addresses of API servers have been in the
// EndpointSlice without interruption. Addresses of the first look count at once. The zero
// value with After set is ready to use. steadyServers is safe for concurrent use.
type SteadyServers struct {
	After time.Duration

	mu     sync.Mutex
	looked bool
	since  map[netip.AddrPort]time.Time // addresses in the EndpointSlice
	gone   map[netip.AddrPort]time.Time // when known addresses were last seen
}

// Steady returns the addresses that count, and the time until the next address counts; 0 if no
// address is waiting. A nil receiver counts all addresses.
func (s *SteadyServers) Steady(shown []netip.AddrPort, now time.Time) (steady []netip.AddrPort, wait time.Duration) {
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
		case !s.looked, !known && counted && now.Sub(last) < timing.APIServerReturn:
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

// remember records that an address counts now.
func (s *SteadyServers) remember(server netip.AddrPort, now time.Time) {
	if s.gone == nil {
		s.gone = map[netip.AddrPort]time.Time{}
	}
	maps.DeleteFunc(s.gone, func(_ netip.AddrPort, last time.Time) bool { return now.Sub(last) >= timing.APIServerReturn })
	if _, known := s.gone[server]; known || len(s.gone) < maxAPIServers {
		s.gone[server] = now
	}
}
