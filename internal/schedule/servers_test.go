// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"net/netip"
	"testing"
	"time"

	. "github.com/onsi/gomega"
)

// A foreign address in the EndpointSlice of the API servers is removed again before the address counts.
func TestAddressOfAnAPIServerCountsOnceItHasStayed(t *testing.T) {
	g := NewWithT(t)
	address := netip.MustParseAddrPort
	first, second, third := address("10.0.0.1:6443"), address("10.0.0.2:6443"), address("10.0.0.1:22")
	s := &SteadyServers{After: 20 * time.Second}
	now := time.Unix(1000, 0)
	look := func(after time.Duration, shown ...netip.AddrPort) ([]netip.AddrPort, time.Duration) {
		now = now.Add(after)
		return s.Steady(shown, now)
	}
	steady, wait := look(0)
	g.Expect(steady).To(BeEmpty())
	g.Expect(wait).To(BeZero())
	steady, wait = look(0, first)
	g.Expect(steady).To(ConsistOf(first), "addresses of the first look count at once")
	g.Expect(wait).To(BeZero())

	steady, wait = look(time.Second, first, second, third)
	g.Expect(steady).To(ConsistOf(first))
	g.Expect(wait).To(Equal(20 * time.Second))
	steady, _ = look(9*time.Second, first)
	g.Expect(steady).To(ConsistOf(first), "the API server has removed the foreign address from its slice")
	steady, wait = look(time.Second, first, second)
	g.Expect(steady).To(ConsistOf(first), "an address that comes and goes does not count")
	g.Expect(wait).To(Equal(20 * time.Second))
	steady, wait = look(19*time.Second, first, second)
	g.Expect(steady).To(ConsistOf(first))
	g.Expect(wait).To(Equal(time.Second))
	steady, wait = look(time.Second, first, second)
	g.Expect(steady).To(ConsistOf(first, second))
	g.Expect(wait).To(BeZero())

	steady, _ = look(time.Minute)
	g.Expect(steady).To(BeEmpty(), "the only API server restarts")
	steady, wait = look(time.Minute, first, second)
	g.Expect(steady).To(ConsistOf(first, second), "an address that counted before counts again at once")
	g.Expect(wait).To(BeZero())
	_, _ = look(time.Minute, first)
	steady, _ = look(time.Hour, first, second)
	g.Expect(steady).To(ConsistOf(first), "the memory of an address lasts ten minutes")

	g.Expect((*SteadyServers)(nil).Steady([]netip.AddrPort{second}, now)).To(ConsistOf(second))
}
