// SPDX-License-Identifier: Apache-2.0

package dataplane_test

import (
	"testing"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"github.com/projectcalico/api/pkg/lib/numorstring"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/dataplane"
)

const (
	allowed = dataplane.Allowed
	denied  = dataplane.Denied
	unknown = dataplane.Unknown
)

type want struct {
	flow     dataplane.Flow
	decision dataplane.Decision
	because  string
}

type situation struct {
	name    string
	objects []object
	wants   []want
}

func check(t *testing.T, all []situation) {
	t.Helper()
	for _, s := range all {
		t.Run(s.name, func(t *testing.T) {
			w := world(append(s.objects, defaultTier, passing, denying)...)
			for _, want := range s.wants {
				g := NewWithT(t)
				got := w.VerdictOn(want.flow)
				g.Expect(got.Decision).To(Equal(want.decision), "%s: %s", want.flow, got)
				g.Expect(got.Reason.Text).To(ContainSubstring(want.because), want.flow.String())
			}
		})
	}
}

var (
	denyAll  = rule(v3.Deny)
	allowAll = rule(v3.Allow)
	passAll  = rule(v3.Pass)
	every    = endpoint("a", "*")
)

// Calico's traps in the protection of hosts (docs/calico.md).
func TestTraps(t *testing.T) {
	check(t, []situation{
		{"a policy on a failsafe port has no effect", []object{every, policy("passing.deny", 1, denyAll)}, []want{
			{tcp(c4, a4, 2379), allowed, "failsafe port 2379 of Felix's defaults"},
			{tcp(c6, a6, 22), allowed, "failsafe port 22"},
			{tcp(c4, a4, 10250), denied, "Deny by rule 1 of GlobalNetworkPolicy passing.deny (tier passing), on node a"},
			{dataplane.Flow{From: addr(c4), To: addr(a4), Interface: "eth0", Protocol: dataplane.UDP, Port: 2379}, denied, "passing.deny"},
		}},
		{"a failsafe port can be scoped, on one node", []object{
			every, endpoint("b", "*"), policy("passing.deny", 1, denyAll),
			felix("node.a", func(s *v3.FelixConfigurationSpec) {
				s.FailsafeInboundHostPorts = &[]v3.ProtoPort{{Protocol: "tcp", Port: 2379, Net: "10.0.0.0/24"}}
			}),
		}, []want{
			{tcp(b4, a4, 2379), allowed, "failsafe port 2379 of FelixConfiguration node.a"},
			{tcp(c4, a4, 2379), denied, "passing.deny"},
			{tcp(c6, a6, 2379), denied, "passing.deny"},
			{tcp(c4, a4, 22), denied, "passing.deny"},
			{tcp(c4, b4, 22), allowed, "failsafe"},
		}},
		{"an empty failsafe list is not the default", []object{
			every, policy("passing.deny", 1, denyAll),
			felix("default", func(s *v3.FelixConfigurationSpec) { s.FailsafeInboundHostPorts = &[]v3.ProtoPort{} }),
		}, []want{{tcp(c4, a4, 22), denied, "passing.deny"}}},
		{"outgoing failsafe ports are a separate list", []object{every, policy("passing.deny", 1, denyAll, outward)}, []want{
			{tcp(a4, c4, 22), denied, "passing.deny (tier passing), on node a (outgoing)"},
			{tcp(a4, c4, 6443), allowed, ""},
			{dataplane.Flow{From: addr(a4), To: addr(c4), Protocol: dataplane.UDP, Port: 53}, allowed, ""},
		}},
		{"an endpoint without policy and profile drops everything except failsafe ports, in both directions", []object{endpoint("a", "*", profiles())}, []want{
			{tcp(c4, a4, 10250), denied, "HostEndpoint a has no profile"},
			{ping(c4, a4), denied, "no profile"},
			{tcp(c4, a4, 6443), allowed, "failsafe"},
			{tcp(a4, c4, 443), denied, "(outgoing)"},
			{tcp(a4, a4, 10250), denied, "(outgoing)"},
		}},
		{"the profile lets traffic pass", []object{every}, []want{
			{tcp(c4, a4, 10250), allowed, "profile projectcalico-default-allow of HostEndpoint a"},
		}},
		{"the effect of an unknown profile is unknown", []object{endpoint("a", "*", profiles("mine"))}, []want{
			{tcp(c4, a4, 10250), unknown, "the profile mine"},
			{tcp(c4, a4, 22), allowed, "failsafe"},
		}},
		{"an endpoint for every interface polices loopback and own addresses", []object{
			every, policy("passing.deny", 1, rule(v3.Deny, protocol("TCP", 10257))),
		}, []want{
			{dataplane.Flow{From: addr("127.0.0.1"), To: addr("127.0.0.1"), Node: "a", Protocol: dataplane.TCP, Port: 10257}, denied, "passing.deny"},
			{dataplane.Flow{From: addr("::1"), To: addr("::1"), Node: "a", Protocol: dataplane.TCP, Port: 10257}, denied, "passing.deny"},
			{by("", tcp(a4, a4, 10257)), denied, "passing.deny"},
			{by("", tcp(a4, aDedicated, 10257)), denied, "passing.deny"},
			{dataplane.Flow{From: addr("127.0.0.1"), To: addr("127.0.0.1"), Protocol: dataplane.TCP, Port: 10257}, unknown, "the node that sends"},
		}},
		{"an endpoint for one interface can be bypassed through the others", []object{
			endpoint("a", "eth1"), policy("passing.deny", 1, denyAll),
		}, []want{
			{by("eth1", tcp(c4, aDedicated, 10250)), denied, "passing.deny"},
			{by("eth0", tcp(c4, aDedicated, 10250)), allowed, "no HostEndpoint governs the interface"},
			{by("", tcp(a4, a4, 10250)), allowed, "no HostEndpoint"},
			{by("", tcp(c4, aDedicated, 10250)), unknown, "the interface of the flow"},
		}},
		{"an endpoint with the name of the interface takes precedence over the one for every interface", []object{
			every, endpoint("a-eth1", "eth1"), policy("passing.deny", 1, denyAll, selecting("endpoint == 'a-eth1'")),
		}, []want{
			{by("eth1", tcp(c4, a4, 10250)), denied, "passing.deny"},
			{by("eth0", tcp(c4, a4, 10250)), allowed, "HostEndpoint a,"},
		}},
		{"of two matching endpoints, the alphabetically first wins", []object{
			endpoint("a2", "*"), endpoint("a1", "*"), policy("passing.deny", 1, denyAll, selecting("endpoint == 'a2'")),
		}, []want{{tcp(c4, a4, 10250), allowed, "HostEndpoint a1"}}},
		{"an endpoint with an address counts like one with the name of the interface", []object{
			endpoint("a2", "eth1"), endpoint("a1", "", expecting(aDedicated)), policy("passing.deny", 1, denyAll, selecting("endpoint == 'a1'")),
		}, []want{
			{by("eth1", tcp(c4, aDedicated, 10250)), denied, "passing.deny"},
			{by("eth0", tcp(c4, aDedicated, 10250)), allowed, "no HostEndpoint"},
		}},
		{"the address of an interface may be unknown", []object{
			endpoint("b-address", "", expecting(b4)), policy("passing.deny", 1, denyAll),
		}, []want{{tcp(c4, b4, 10250), unknown, "the interface of the flow"}}},
		{"a source selector matches hosts only by their expected addresses", []object{
			every, endpoint("b", "*", expecting(b4)),
			policy("passing.allow", 1, rule(v3.Allow, source("host == 'b'"))), policy("passing.deny", 2, denyAll),
		}, []want{
			{tcp(b4, a4, 10250), allowed, "passing.allow"},
			{tcp(b6, a6, 10250), denied, "passing.deny"},
		}},
		{"a set of addresses matches any sender", []object{
			every, set("friends", c4+"/32", "fd09::/16"),
			policy("passing.allow", 1, rule(v3.Allow, source("set == 'friends'"))), policy("passing.deny", 2, denyAll),
		}, []want{
			{tcp(c4, a4, 10250), allowed, "passing.allow"},
			{tcp(c6, a6, 10250), allowed, "passing.allow"},
			{tcp(b4, a4, 10250), denied, "passing.deny"},
		}},
		{"IPv6 is unfiltered where Felix does not support it", []object{
			every, policy("passing.deny", 1, denyAll),
			felix("default", func(s *v3.FelixConfigurationSpec) { s.IPv6Support = ptr.To(false) }),
		}, []want{
			{tcp(c6, a6, 10250), allowed, "does not filter IPv6"},
			{tcp(c4, a4, 10250), denied, "passing.deny"},
		}},
		{"an untracked policy has no effect on an endpoint for every interface", []object{every, policy("passing.deny", 1, denyAll, doNotTrack)}, []want{
			{tcp(c4, a4, 10250), allowed, "profile"},
		}},
		{"an untracked policy comes first on an endpoint with a name, and only its denials are certain", []object{
			endpoint("a", "eth0"), policy("passing.allow", 1, allowAll),
			policy("denying.raw", 5, rule(v3.Deny, from("10.9.0.0/16")), doNotTrack),
		}, []want{
			{tcp(c4, a4, 10250), denied, "denying.raw"},
			{tcp(b4, a4, 10250), unknown, "doNotTrack policies select HostEndpoint a"},
			{tcp(c4, a4, 6443), allowed, "failsafe"},
		}},
		{"a policy before DNAT comes before all tiers", []object{
			every, policy("passing.deny", 1, denyAll), policy("denying.early", 1, rule(v3.Allow, from("10.9.0.0/16")), preDNAT),
		}, []want{
			{tcp(c4, a4, 10250), allowed, "denying.early"},
			{tcp(b4, a4, 10250), denied, "passing.deny"},
		}},
		{"a rule that excepts networks of one IP version does not match the other", []object{
			every, policy("passing.deny", 1, rule(v3.Deny, notFrom("10.0.0.0/24"))),
		}, []want{
			{tcp(c4, a4, 10250), denied, "passing.deny"},
			{tcp(c6, a6, 10250), allowed, "profile"},
		}},
		{"a rule that excepts every address matches no packet, not even of the other IP version", []object{
			every, policy("passing.deny", 1, rule(v3.Deny, notFrom("0.0.0.0/0"))),
		}, []want{{tcp(c4, a4, 10250), allowed, "profile"}, {tcp(c6, a6, 10250), allowed, "profile"}}},
		{"a code of ICMP stops Felix with nftables", []object{
			every, policy("passing.allow", 1, rule(v3.Allow, protocol("ICMP"), icmpType(3), icmpCode(4))),
			felix("default", func(s *v3.FelixConfigurationSpec) { s.NFTablesMode = ptr.To(v3.NFTablesMode("Enabled")) }),
		}, []want{{tcp(c4, a4, 10250), unknown, "ICMP code"}}},
		{"a code of ICMP may stop a Felix that chooses nftables as kube-proxy does", []object{
			every, policy("passing.allow", 1, rule(v3.Allow, protocol("ICMP"), icmpType(3), icmpCode(4))),
			felix("default", func(s *v3.FelixConfigurationSpec) { s.NFTablesMode = ptr.To(v3.NFTablesMode("Auto")) }),
		}, []want{{tcp(c4, a4, 10250), unknown, "ICMP code"}}},
		{"a code of ICMP does not stop a Felix without nftables", []object{
			every, policy("passing.allow", 1, rule(v3.Allow, protocol("ICMP"), icmpType(3), icmpCode(4))),
			felix("default", func(s *v3.FelixConfigurationSpec) { s.NFTablesMode = ptr.To(v3.NFTablesMode("Disabled")) }),
		}, []want{{tcp(c4, a4, 10250), allowed, ""}}},
		{"a failsafe of a protocol that does not exist", []object{
			every, felix("node.a", func(s *v3.FelixConfigurationSpec) {
				s.FailsafeInboundHostPorts = &[]v3.ProtoPort{{Protocol: "tcpp", Port: 22}}
			}),
		}, []want{{tcp(c4, a4, 22), unknown, "has the protocol tcpp"}}},
	})
}

func TestTiers(t *testing.T) {
	check(t, []situation{
		{"the end of a tier denies if one of its policies selects the endpoint", []object{
			every, endpoint("b", "*"), policy("denying.some", 1, rule(v3.Allow, protocol("TCP", 1)), selecting("host == 'a'")),
		}, []want{
			{tcp(c4, a4, 1), allowed, "denying.some"},
			{tcp(c4, a4, 2), denied, "the end of tier denying (default action Deny; GlobalNetworkPolicy denying.some"},
			{tcp(c4, b4, 2), allowed, "profile"},
		}},
		{"the end of a tier passes if that policy is for the other direction", []object{every, policy("denying.some", 1, allowAll, outward)}, []want{
			{tcp(c4, a4, 2), allowed, "profile"},
		}},
		{"the end of a tier passes if that policy is evaluated before the tiers", []object{every, policy("denying.early", 1, rule(v3.Allow, protocol("TCP", 1)), preDNAT)}, []want{
			{tcp(c4, a4, 2), allowed, "profile"},
		}},
		{"the end of a tier passes if its default action is Pass", []object{every, policy("passing.some", 1, rule(v3.Allow, protocol("TCP", 1)))}, []want{
			{tcp(c4, a4, 2), allowed, "profile"},
		}},
		{"a tier without a default action denies", []object{every, policy("some", 1, rule(v3.Allow, protocol("TCP", 1)))}, []want{
			{tcp(c4, a4, 2), denied, "the end of tier default"},
		}},
		{"Pass skips the rest of the tier, and its end", []object{
			every, policy("denying.pass", 1, passAll), policy("denying.deny", 2, denyAll), policy("last", 1, rule(v3.Allow, protocol("TCP", 1))),
		}, []want{
			{tcp(c4, a4, 1), allowed, "last (tier default)"},
			{tcp(c4, a4, 2), denied, "the end of tier default"},
		}},
		{"Pass of the last tier leads to the profiles", []object{every, policy("pass", 1, passAll)}, []want{{tcp(c4, a4, 2), allowed, "profile"}}},
		{"Log does not decide", []object{every, policy("passing.log", 1, rule(v3.Log), denyAll)}, []want{
			{tcp(c4, a4, 2), denied, "Deny by rule 2 of GlobalNetworkPolicy passing.log"},
		}},
		{"Allow ends all tiers", []object{every, policy("passing.allow", 1, allowAll), policy("denying.deny", 1, denyAll)}, []want{
			{tcp(c4, a4, 2), allowed, "passing.allow"},
		}},
		{"policies are evaluated by order, then by name; those without order are last", []object{
			every, policy("passing.z", 5, rule(v3.Deny, protocol("TCP", 1))), policy("passing.b", 7, rule(v3.Allow, protocol("TCP", 1, 2))),
			policy("passing.a", 7, rule(v3.Deny, protocol("TCP", 2))), policy("passing.0", 0, noOrder, rule(v3.Deny, protocol("TCP", 1, 2, 3))),
		}, []want{
			{tcp(c4, a4, 1), denied, "passing.z"}, {tcp(c4, a4, 2), denied, "passing.a"}, {tcp(c4, a4, 3), denied, "passing.0"},
		}},
		{"tiers of ClusterNetworkPolicies are like others: before the default tier, and after it", []object{
			every, tier("kube-admin", 1_000, v3.Pass), tier("kube-baseline", 10_000_000, v3.Pass),
			policy("kube-admin.deny", 1, rule(v3.Deny, protocol("TCP", 1))), policy("kube-admin.allow", 2, rule(v3.Allow, protocol("TCP", 2))),
			policy("kube-baseline.deny", 1, rule(v3.Deny, protocol("TCP", 2, 3))),
		}, []want{
			{tcp(c4, a4, 1), denied, "kube-admin.deny"}, {tcp(c4, a4, 2), allowed, "kube-admin.allow"}, {tcp(c4, a4, 3), denied, "kube-baseline.deny"},
			{tcp(c4, a4, 4), allowed, "profile"},
		}},
		{"a tier that does not exist", []object{every, policy("gone.deny", 1, denyAll)}, []want{
			{tcp(c4, a4, 1), unknown, "tier gone, which does not exist"},
		}},
		{"egress and ingress must both allow", []object{
			every, endpoint("b", "*"), policy("passing.out", 1, rule(v3.Deny, to(a4+"/32")), outward, selecting("host == 'b'")),
			policy("passing.in", 1, rule(v3.Deny, from(b6+"/128")), selecting("host == 'a'")),
		}, []want{
			{tcp(b4, a4, 1), denied, "passing.out"}, {tcp(b6, a6, 1), denied, "passing.in"}, {tcp(c4, a4, 1), allowed, "on node a"},
		}},
		{"a flow that may not leave its sender is denied", []object{
			endpoint("b", "*"), policy("passing.out", 1, rule(v3.Deny, protocol("TCP"), func(r *v3.Rule) {
				r.Source.Ports = []numorstring.Port{numorstring.SinglePort(80)}
			}), outward),
		}, []want{{tcp(b4, a4, 1), unknown, "passing.out (tier passing), on node b (outgoing): in the source, the port is unknown"}}},
		{"policies without types have the types of their rules", []object{
			every, policy("passing.deny", 1, func(s *v3.GlobalNetworkPolicySpec) { s.Types = nil; s.Egress = []v3.Rule{denyAll} }),
		}, []want{{tcp(c4, a4, 1), allowed, ""}, {tcp(a4, c4, 1), denied, "(outgoing)"}}},
	})
}

func TestRules(t *testing.T) {
	match := func(r v3.Rule) []object { return []object{every, policy("passing.deny", 1, r)} }
	ranged := rule(v3.Deny, protocol("TCP"), func(r *v3.Rule) {
		r.Destination.Ports = []numorstring.Port{{MinPort: 10, MaxPort: 20}}
		r.Destination.NotPorts = []numorstring.Port{numorstring.SinglePort(15)}
	})
	from80 := rule(v3.Deny, protocol("TCP"), func(r *v3.Rule) { r.Source.Ports = []numorstring.Port{numorstring.SinglePort(80)} })
	named := rule(v3.Deny, protocol("TCP", 1), func(r *v3.Rule) {
		r.Destination.Ports = append(r.Destination.Ports, numorstring.NamedPort("web"))
	})
	known := tcp(c4, a4, 1)
	known.SourcePort = 81
	redirect := ping(c4, a4)
	redirect.Type = 5
	check(t, []situation{
		{"ports and their negation", match(ranged), []want{
			{tcp(c4, a4, 10), denied, ""}, {tcp(c4, a4, 20), denied, ""}, {tcp(c4, a4, 21), allowed, ""}, {tcp(c4, a4, 15), allowed, ""},
			{ping(c4, a4), allowed, ""},
		}},
		{"source ports are unknown, unless the flow has them", match(from80), []want{
			{tcp(c4, a4, 1), unknown, "Deny by rule 1 of GlobalNetworkPolicy passing.deny (tier passing), on node a: in the source, the port is unknown"},
			{known, allowed, "profile"},
		}},
		{"ports by name", match(named), []want{{tcp(c4, a4, 1), denied, ""}, {tcp(c4, a4, 2), unknown, "the ports are given by name"}}},
		{"ICMP is IPv4, ICMPv6 is IPv6", match(rule(v3.Deny, protocol("ICMP"))), []want{
			{ping(c4, a4), denied, ""}, {ping(c6, a6), allowed, ""}, {tcp(c4, a4, 1), allowed, ""},
		}},
		{"ICMPv6", match(rule(v3.Deny, protocol("ICMPv6"), icmpType(128))), []want{{ping(c4, a4), allowed, ""}, {ping(c6, a6), denied, ""}}},
		{"types", match(rule(v3.Deny, protocol("ICMP"), icmpType(5))), []want{{ping(c4, a4), allowed, ""}, {redirect, denied, ""}}},
		{"codes", match(rule(v3.Deny, protocol("ICMP"), icmpType(8), icmpCode(1))), []want{{ping(c4, a4), allowed, ""}}},
		{"negated types of ICMP", match(rule(v3.Deny, protocol("ICMP"), func(r *v3.Rule) { r.NotICMP = &v3.ICMPFields{Type: ptr.To(5)} })), []want{
			{ping(c4, a4), denied, ""}, {redirect, allowed, ""}, {tcp(c4, a4, 1), allowed, ""},
		}},
		{"negated types of ICMP without a protocol", match(rule(v3.Deny, func(r *v3.Rule) { r.NotICMP = &v3.ICMPFields{Type: ptr.To(5)} })), []want{
			{tcp(c4, a4, 1), unknown, "notICMP without a protocol"}, {redirect, allowed, ""},
		}},
		{"negated protocols", match(rule(v3.Deny, func(r *v3.Rule) { r.NotProtocol = ptr.To(numorstring.ProtocolFromString("TCP")) })), []want{
			{tcp(c4, a4, 1), allowed, ""}, {ping(c6, a6), denied, ""},
		}},
		{"protocols by number", match(rule(v3.Deny, func(r *v3.Rule) { r.Protocol = ptr.To(numorstring.ProtocolFromInt(6)) })), []want{
			{tcp(c6, a6, 1), denied, ""}, {ping(c6, a6), allowed, ""},
		}},
		{"one IP version", match(rule(v3.Deny, func(r *v3.Rule) { r.IPVersion = ptr.To(6) })), []want{
			{tcp(c6, a6, 1), denied, ""}, {tcp(c4, a4, 1), allowed, ""},
		}},
		{"networks and exceptions", match(rule(v3.Deny, from("10.0.0.0/8"), notFrom("10.9.0.0/16"))), []want{
			{tcp(c4, a4, 1), allowed, ""}, {tcp(b4, a4, 1), denied, ""}, {tcp(b6, a6, 1), allowed, ""},
		}},
		{"networks of different IP versions on both sides match no packet", match(rule(v3.Deny, from("10.0.0.0/8"), to("fd00::/64"))), []want{
			{tcp(b4, a4, 1), allowed, ""}, {tcp(b6, a6, 1), allowed, ""},
		}},
		{"a selector that matches no object", match(rule(v3.Deny, source("nothing == 'so'"))), []want{{tcp(c4, a4, 1), allowed, ""}}},
		{"the negation of a selector that matches no object", match(rule(v3.Deny, notSource("nothing == 'so'"))), []want{{tcp(c4, a4, 1), denied, ""}}},
		{"a selector that cannot be read", match(rule(v3.Deny, source("=="))), []want{{tcp(c4, a4, 1), unknown, "cannot be read"}}},
		{"a Service", match(rule(v3.Deny, func(r *v3.Rule) { r.Destination.Services = &v3.ServiceMatch{Name: "s", Namespace: "n"} })), []want{
			{tcp(c4, a4, 1), unknown, "Service n/s"},
		}},
	})
}

func TestSelectorsOfRules(t *testing.T) {
	pool := v3.IPPool{Spec: v3.IPPoolSpec{CIDR: "10.200.0.0/16"}}
	with := func(r v3.Rule, more ...object) []object {
		return append(more, every, pool, set("x", "10.9.0.0/24"), set("y", "10.9.0.9/32"), policy("passing.deny", 1, r))
	}
	check(t, []situation{
		{"an exception removes whole sets from a selection", with(rule(v3.Deny, source("has(set)"), notSource("set == 'y'"))), []want{
			{tcp(c4, a4, 1), denied, ""},
		}},
		{"an address that only an excepted set has is not selected", with(rule(v3.Deny, source("has(set)"), notSource("set == 'x'"))), []want{
			{tcp("10.9.0.8", a4, 1), allowed, ""}, {tcp(c4, a4, 1), denied, ""},
		}},
		{"the address of a node is not that of a workload", []object{
			every, v3.IPPool{Spec: v3.IPPoolSpec{CIDR: "10.0.0.0/8"}}, policy("passing.deny", 1, rule(v3.Deny, source("app == 'db'"))),
		}, []want{{tcp(b4, a4, 1), allowed, ""}, {tcp(c4, a4, 1), unknown, "workloads"}}},
		{"an exception without a selection works by address", with(rule(v3.Deny, notSource("set == 'y'"))), []want{
			{tcp(c4, a4, 1), allowed, ""}, {tcp("10.9.0.8", a4, 1), denied, ""},
		}},
		{"all() matches all known addresses, not every address", with(rule(v3.Deny, source("all()"))), []want{
			{tcp(c4, a4, 1), denied, ""}, {tcp("10.8.0.1", a4, 1), allowed, ""}, {tcp(b4, a4, 1), allowed, ""},
		}},
		{"the addresses of workloads are unknown", with(rule(v3.Deny, source("app == 'db'"))), []want{
			{tcp(pod4, a4, 1), unknown, "may select workloads"}, {tcp(c4, a4, 1), allowed, ""},
		}},
		{"unknown workloads do not matter where every result is the same", with(rule(v3.Allow, source("app == 'db'"))), []want{{tcp(pod4, a4, 1), allowed, ""}}},
		{"unknown workloads do not matter where only hosts are selected", with(rule(v3.Deny, inside("global()"), source("has(set)"))), []want{
			{tcp(pod4, a4, 1), allowed, ""}, {tcp(c4, a4, 1), denied, ""},
		}},
		{"hosts and sets are in no namespace", with(rule(v3.Deny, inside("all()"))), []want{
			{tcp(pod4, a4, 1), unknown, "workloads"}, {tcp(c4, a4, 1), allowed, ""},
		}},
		{"a doubtful Pass makes the rest of the evaluation doubtful", with(rule(v3.Pass, source("app == 'db'")),
			policy("denying.deny", 1, denyAll)), []want{{tcp(pod4, a4, 1), denied, "denying.deny"}}},
	})
}

func TestEncapsulation(t *testing.T) {
	vxlan := func(from string) dataplane.Flow {
		f := tcp(from, a4, 4789)
		f.Protocol = dataplane.UDP
		return f
	}
	ipip := func(from string) dataplane.Flow {
		return dataplane.Flow{From: addr(from), To: addr(a4), Interface: "eth0", Protocol: 4}
	}
	deny := policy("passing.deny", 1, denyAll)
	check(t, []situation{
		{"Felix allows encapsulated traffic between nodes by itself", []object{every, deny, v3.IPPool{Spec: v3.IPPoolSpec{CIDR: "10.200.0.0/16", VXLANMode: v3.VXLANModeAlways}}}, []want{
			{vxlan(b4), allowed, "VXLAN"}, {vxlan(c4), unknown, "VXLAN"}, {ipip(b4), denied, "passing.deny"}, {tcp(b4, a4, 4789), denied, "passing.deny"},
		}},
		{"IPIP", []object{every, deny, v3.IPPool{Spec: v3.IPPoolSpec{CIDR: "10.200.0.0/16", IPIPMode: v3.IPIPModeCrossSubnet}}}, []want{
			{ipip(b4), allowed, "IPIP"}, {vxlan(b4), denied, "passing.deny"},
		}},
		{"Felix does not allow an encapsulation that is not in use", []object{every, deny}, []want{{vxlan(b4), denied, "passing.deny"}}},
		{"eBPF is not modelled", []object{every, felix("default", func(s *v3.FelixConfigurationSpec) { s.BPFEnabled = ptr.To(true) })}, []want{
			{tcp(c4, a4, 1), unknown, "eBPF"},
		}},
		{"eBPF at the sender does not hide a denial at the receiver", []object{
			every, endpoint("b", "*"), policy("passing.deny", 1, denyAll, selecting("host == 'a'")),
			felix("node.b", func(s *v3.FelixConfigurationSpec) { s.BPFEnabled = ptr.To(true) }),
		}, []want{{tcp(b4, a4, 1), denied, "passing.deny"}}},
		{"eBPF at the sender makes a flow unknown that the receiver allows", []object{
			every, endpoint("b", "*"), felix("node.b", func(s *v3.FelixConfigurationSpec) { s.BPFEnabled = ptr.To(true) }),
		}, []want{{tcp(b4, a4, 1), unknown, "eBPF"}}},
		{"eBPF without an endpoint restricts no traffic", []object{
			every, felix("node.b", func(s *v3.FelixConfigurationSpec) { s.BPFEnabled = ptr.To(true) }),
		}, []want{{tcp(b4, a4, 1), allowed, ""}}},
		{"policies of workloads are not modelled", []object{every}, []want{{by("cali123", tcp(pod4, a4, 1)), unknown, "workloads"}}},
	})
}
