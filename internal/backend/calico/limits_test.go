// SPDX-License-Identifier: Apache-2.0

package calico_test

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"

	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
)

// refused returns why Calico's API would refuse an object, from v3.32 on
// (sets, endpoints, types) and from v3.33 on (limits on numbers).
func refused(object backend.Object) (why []string) {
	expect := func(is bool, what string) {
		if !is {
			why = append(why, object.GetName()+": "+what)
		}
	}
	unique := func(list []string) {
		sorted := slices.Sorted(slices.Values(list))
		expect(len(slices.Compact(sorted)) == len(list), "something is there twice")
	}
	switch o := object.(type) {
	case *v3.GlobalNetworkSet:
		unique(o.Spec.Nets)
		expect(len(o.Spec.Nets) <= 100_000, "networks")
	case *v3.HostEndpoint:
		unique(o.Spec.ExpectedIPs)
		unique(o.Spec.Profiles)
		expect(o.Spec.Node != "" && (o.Spec.InterfaceName != "" || len(o.Spec.ExpectedIPs) > 0), "node and interface")
	case *v3.GlobalNetworkPolicy:
		expect(len(o.Spec.Types) == 1 && len(o.Spec.Egress) == 0, "types")
		expect(len(o.Spec.Selector) <= 1024, "selector")
		expect(len(o.Spec.Ingress) > 0 && len(o.Spec.Ingress) <= 1024, "rules")
		for _, rule := range o.Spec.Ingress {
			for _, side := range []v3.EntityRule{rule.Source, rule.Destination} {
				unique(side.Nets)
				expect(len(side.Nets) <= 256, "networks of a rule")
				expect(len(side.Ports) <= 50, "ports of a rule")
				expect(len(side.Selector) <= 1024, "selector of a rule")
			}
		}
	}
	return why
}

// manyNodes are protected dual-stack nodes.
func manyNodes(count int) []backend.Node {
	var all []backend.Node
	for i := range count {
		all = append(all, backend.Node{Name: fmt.Sprintf("node-%d", i), Addresses: []netip.Addr{
			netip.AddrFrom4([4]byte{10, 79, byte(i / 256), byte(i % 256)}),
			netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", i+1)),
		}})
	}
	return all
}

// networks are many single networks of both IP versions, unsorted, each of them twice.
func networks(count int) []netip.Prefix {
	var all []netip.Prefix
	for i := range count {
		all = append(all,
			netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, byte(i % 256), byte(i / 256)}), 32),
			netip.PrefixFrom(netip.MustParseAddr(fmt.Sprintf("2001:db8:1::%x", count-i)), 128))
	}
	return append(all, all...)
}

// large has more of everything than one rule, or one policy, may have.
func large() backend.Hosts {
	h := hosts()
	h.Policy = strings.Repeat("p", 63)
	h.Nodes, h.DenyUnlisted = manyNodes(600), true
	var ports []profile.Traffic
	for i := range uint16(120) {
		ports = append(ports, profile.Traffic{Protocol: profile.TCP, First: 1000 + 2*i, Last: 1000 + 2*i})
	}
	h.Components[0].Ports = ports
	h.Components[0].From = []backend.Source{{Set: "nodes"}, {Prefixes: networks(600)}}
	h.Components = append(h.Components, backend.Component{
		Name: strings.Repeat("c", 63), Interface: "interface-of-15", Address: netip.MustParsePrefix("10.1.0.0/24"), Ports: ports, From: h.Components[0].From,
	})
	for i := range 200 {
		h.Required = append(h.Required, backend.Flow{
			Name: fmt.Sprintf("flow-%d", i), From: []backend.Source{{Prefixes: networks(1)}}, Destinations: networks(2), Traffic: ports[:60],
		})
	}
	h.Listed = h.Required
	return h
}

// counts returns how many rules each policy has, by name without the version.
func counts(t *testing.T, h backend.Hosts) map[string]int {
	t.Helper()
	g := NewWithT(t)
	objects, err := calico.Render(calico.WithRulesets(h))
	g.Expect(err).NotTo(HaveOccurred())
	found := map[string]int{}
	for _, object := range objects {
		g.Expect(refused(object)).To(BeEmpty())
		if policy, is := object.(*v3.GlobalNetworkPolicy); is {
			g.Expect(calico.HasNameFor(policy, h.Policy)).To(BeTrue(), policy.Name)
			name := strings.TrimPrefix(policy.Name, calico.PolicyName(h.Policy, ""))
			name = regexp.MustCompile(`-[0-9a-f]{8}$`).ReplaceAllString(name, "")
			g.Expect(found).NotTo(HaveKey(name))
			found[name] = len(policy.Spec.Ingress)
		}
	}
	return found
}

// From Calico v3.33 on, the API refuses rules and policies that are too large.
func TestTooLargeRulesAndPoliciesAreSplit(t *testing.T) {
	c := strings.Repeat("c", 63)
	want := map[string]int{
		// 3 lists of ports; a set, and 3 lists of networks of each IP version
		"allow-etcd": 3 * 7, "allow-" + c: 3 * 7, "loop-" + c: 3, "deny-unlisted": 1,
		// 200 flows, 2 lists of ports, destinations and sources of 2 families each
		"required": 1024, "required2": 576, "listed": 1024, "listed2": 576,
	}
	got := counts(t, large())
	rules := 0
	for _, name := range []string{"self", "self2", "self3", "self4"} {
		rules += got[name]
		NewWithT(t).Expect(got[name]).To(BeNumerically("<=", 512), name)
		delete(got, name)
	}
	g := NewWithT(t)
	g.Expect(rules).To(Equal(2+2*600), "the own addresses of 600 nodes, and loopback")
	g.Expect(got).To(Equal(want))
}

// A node that joins changes only the policy of its own addresses. While the addresses
// grow from one policy to four, no policy ever has more rules than the API accepts.
func TestOwnAddressesStayInTheirPolicies(t *testing.T) {
	g := NewWithT(t)
	rules := func(count int) map[string][]v3.Rule {
		h := hosts()
		h.Nodes = manyNodes(count)
		objects, err := calico.Render(calico.WithRulesets(h))
		g.Expect(err).NotTo(HaveOccurred())
		found := map[string][]v3.Rule{}
		for _, object := range objects {
			if policy, is := object.(*v3.GlobalNetworkPolicy); is && strings.Contains(policy.Name, "-self") {
				found[policy.Name] = policy.Spec.Ingress
			}
		}
		return found
	}
	g.Expect(rules(255)).To(HaveLen(1), "one policy, as for few nodes")
	for _, first := range []int{250, 495, 590} { // about where another policy is added
		before := rules(first)
		for count := first + 1; count < first+20; count++ {
			after, changed := rules(count), 0
			for name, is := range after {
				both := len(is)
				for _, rule := range before[name] {
					if !slices.ContainsFunc(is, func(r v3.Rule) bool { return slices.Equal(r.Source.Nets, rule.Source.Nets) }) {
						both++
					}
				}
				g.Expect(both).To(BeNumerically("<=", 1024), "%s with %d nodes, while the policy still has the former rules too", name, count)
				if len(before[name]) != len(is) {
					changed++
				}
			}
			if len(after) == len(before) {
				g.Expect(changed).To(Equal(1), "%d nodes", count)
			}
			before = after
		}
	}
}

// Rules and policies of normal size are not split, and keep their version (the
// golden files): a new version would start a rollout on every node.
func TestRulesOfNormalSizeAreNotSplit(t *testing.T) {
	g := NewWithT(t)
	h := hosts()
	h.Components[0].From = []backend.Source{{Prefixes: networks(256)}}
	g.Expect(counts(t, h)).To(Equal(map[string]int{"self": 3, "allow-etcd": 2, "deny-etcd": 1}))
}
