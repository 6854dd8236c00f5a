// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"encoding/binary"
	"math"
	"net/netip"
	"sort"

	"go4.org/netipx"
)

// MostCommonAddress returns an address of the class with the most addresses in a
// network.
func (c *Classes) MostCommonAddress(net netip.Prefix) netip.Addr {
	if net.IsSingleIP() {
		return net.Addr()
	}
	last := netipx.PrefixLastIP(net)
	sizes, first := map[Class]float64{}, map[Class]netip.Addr{}
	best := c.ClassOf(net.Addr())
	countAddresses := func(from, to netip.Addr) {
		class := c.ClassOf(from)
		if sizes[class] == 0 {
			first[class] = from
		}
		sizes[class] += countBetween(from, to)
		if sizes[class] > sizes[best] {
			best = class
		}
	}
	from := net.Addr()
	i := sort.Search(len(c.boundaries), func(i int) bool { return c.boundaries[i].address.Compare(from) > 0 })
	for ; i < len(c.boundaries) && c.boundaries[i].address.Compare(last) <= 0; i++ {
		countAddresses(from, c.boundaries[i].address)
		from = c.boundaries[i].address
	}
	countAddresses(from, last)
	return first[best]
}

// countBetween returns how many addresses there are from one address up to another.
func countBetween(from, to netip.Addr) float64 {
	number := func(a netip.Addr) (high, low float64) {
		b := a.As16()
		return float64(binary.BigEndian.Uint64(b[:8])), float64(binary.BigEndian.Uint64(b[8:]))
	}
	fromHigh, fromLow := number(from)
	toHigh, toLow := number(to)
	return (toHigh-fromHigh)*(math.MaxUint64+1) + toLow - fromLow
}
