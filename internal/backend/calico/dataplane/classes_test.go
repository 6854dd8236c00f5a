// SPDX-License-Identifier: Apache-2.0

package dataplane_test

import (
	"net/netip"
	"testing"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"github.com/projectcalico/api/pkg/lib/numorstring"

	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/dataplane"
)

func TestClassesDistinguishWhatRulesDistinguish(t *testing.T) {
	g := NewWithT(t)
	inForce := rule(v3.Deny, from("10.9.0.0/24"), to("10.8.0.0/24"), protocol("TCP", 80), func(r *v3.Rule) {
		r.Destination.Ports = append(r.Destination.Ports, numorstring.Port{MinPort: 100, MaxPort: 200})
	})
	c := world(passing, every, set("x", "10.7.0.7/32"), policy("passing.deny", 1, inForce, rule(v3.Deny, source("set == 'x'"))),
		policy("passing.else", 1, rule(v3.Deny, from("10.6.0.6/32")), selecting("has(nothing)"))).BuildClasses()
	same := func(a, b string) bool { return c.ClassOf(addr(a)) == c.ClassOf(addr(b)) }
	g.Expect(same("10.1.1.1", "10.1.1.2")).To(BeTrue())
	g.Expect(same("10.9.0.1", "10.9.0.255")).To(BeTrue())
	g.Expect(same("10.9.0.1", "10.9.1.0")).To(BeFalse(), "a rule has the source")
	g.Expect(same("10.8.0.1", "10.1.1.1")).To(BeFalse(), "a rule has the destination")
	g.Expect(same("10.8.0.1", "10.9.0.1")).To(BeFalse())
	g.Expect(same("10.7.0.7", "10.1.1.1")).To(BeFalse(), "a set has the member")
	g.Expect(same("10.6.0.6", "10.1.1.1")).To(BeTrue(), "the rule with the address is not in force")
	g.Expect(same(a4, b4)).To(BeFalse(), "only one of the nodes has an endpoint")
	g.Expect(same("10.1.1.1", "fd01::1")).To(BeFalse())

	var senders dataplane.AddressGroups
	senders.AddNetwork(c, netip.MustParsePrefix("10.0.0.0/8"))
	var first []string
	for _, group := range senders.Groups {
		first = append(first, group.Addresses[0].String())
	}
	g.Expect(first).To(Equal([]string{"10.0.0.0", a4, "10.7.0.7", "10.8.0.0", "10.9.0.0"}))
	g.Expect(c.RepresentativePorts(1, 65535)).To(ContainElements(uint16(1), uint16(80), uint16(81), uint16(100), uint16(201)))
	g.Expect(c.RepresentativePorts(150, 150)).To(Equal([]uint16{150}))
}

// Combined classes distinguish two nodes that swap places between the worlds, although
// each world has one node of either kind.
func TestClassesOfTwoWorldsDistinguishWhatEitherDoes(t *testing.T) {
	g := NewWithT(t)
	classes := func(port uint16, nets ...string) *dataplane.Classes {
		var rules []any
		for _, net := range nets {
			rules = append(rules, rule(v3.Deny, from(net), protocol("TCP", port)))
		}
		return world(passing, every, policy("passing.deny", 1, rules...)).BuildClasses()
	}
	both := classes(80, "10.1.0.0/16", "10.2.0.0/16").CombineWith(classes(90, "10.2.0.0/16", "10.1.5.0/24"))
	same := func(a, b string) bool { return both.ClassOf(addr(a)) == both.ClassOf(addr(b)) }
	g.Expect(same("10.1.1.1", "10.1.2.1")).To(BeTrue())
	g.Expect(same("10.1.1.1", "10.1.5.1")).To(BeFalse())
	g.Expect(same("10.1.1.1", "10.2.1.1")).To(BeFalse())
	g.Expect(same("10.3.1.1", "10.4.1.1")).To(BeTrue())
	g.Expect(both.RepresentativePorts(1, 65535)).To(ContainElements(uint16(80), uint16(81), uint16(90), uint16(91)))

	swapped := world(endpoint("a", "eth0"), endpoint("b", "*")).BuildClasses().CombineWith(world(endpoint("a", "*"), endpoint("b", "eth0")).BuildClasses())
	g.Expect(swapped.ClassOf(addr(a4))).NotTo(Equal(swapped.ClassOf(addr(b4))))
}
