// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"net/netip"
	"testing"
	"time"

	. "github.com/onsi/gomega"
)

// What somebody else writes into the slice of the API servers is gone before it counts.
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
	g.Expect(steady).To(ConsistOf(first), "what is there at the first look counts at once")
	g.Expect(wait).To(BeZero())

	steady, wait = look(time.Second, first, second, third)
	g.Expect(steady).To(ConsistOf(first))
	g.Expect(wait).To(Equal(20 * time.Second))
	steady, _ = look(9*time.Second, first)
	g.Expect(steady).To(ConsistOf(first), "the API server has put its slice right")
	steady, wait = look(time.Second, first, second)
	g.Expect(steady).To(ConsistOf(first), "again and again is not without a break")
	g.Expect(wait).To(Equal(20 * time.Second))
	steady, wait = look(19*time.Second, first, second)
	g.Expect(steady).To(ConsistOf(first))
	g.Expect(wait).To(Equal(time.Second))
	steady, wait = look(time.Second, first, second)
	g.Expect(steady).To(ConsistOf(first, second))
	g.Expect(wait).To(BeZero())

	steady, _ = look(time.Minute)
	g.Expect(steady).To(BeEmpty(), "the only API server starts anew")
	steady, wait = look(time.Minute, first, second)
	g.Expect(steady).To(ConsistOf(first, second), "what has counted does so at once")
	g.Expect(wait).To(BeZero())
	_, _ = look(time.Minute, first)
	steady, _ = look(time.Hour, first, second)
	g.Expect(steady).To(ConsistOf(first), "but for ten minutes")

	g.Expect((*SteadyServers)(nil).Steady([]netip.AddrPort{second}, now)).To(ConsistOf(second))
}
