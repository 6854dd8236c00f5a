// SPDX-License-Identifier: Apache-2.0

package judge_test

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/dataplane"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/judge"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
)

// guarded returns the protection of three nodes in a cluster of four, with required
// flows from all four.
func guarded() backend.Hosts {
	members := map[string][]netip.Prefix{}
	hosts := backend.Hosts{Policy: "p"}
	for i, name := range []string{"cp-1", "cp-2", "cp-3", "worker-1", "worker-2", "worker-3", "worker-4"} {
		n := node(name, fmt.Sprintf("10.77.0.%d", 11+i), fmt.Sprintf("fd77::%d", 11+i))
		for _, a := range n.Addresses {
			members[name] = append(members[name], netip.PrefixFrom(a, a.BitLen()))
		}
		if i < 3 {
			hosts.Nodes = append(hosts.Nodes, n)
		}
	}
	controlPlane := map[string][]netip.Prefix{"cp-1": members["cp-1"], "cp-2": members["cp-2"], "cp-3": members["cp-3"]}
	hosts.Sets = []backend.Set{{Name: "control-plane", Members: controlPlane}, {Name: "nodes", Members: members}}
	hosts.Components = []backend.Component{
		{Name: "kubelet", Ports: traffic("tcp/10250"), From: []backend.Source{{Set: "control-plane"}}},
		{Name: "etcd", Ports: traffic("tcp/2379-2380"), From: []backend.Source{{Set: "control-plane"}}},
	}
	hosts.ScopeFailsafes = true
	hosts.Required = []backend.Flow{
		{Name: "etcd-peers", From: []backend.Source{{Set: "control-plane"}}, Traffic: traffic("tcp/2379-2380")},
		{Name: "metrics", From: []backend.Source{{Set: "nodes"}, {Prefixes: prefixes("10.200.0.0/16")}}, Traffic: traffic("tcp/10250", "udp/8472")},
	}
	return hosts
}

// requiredFlows returns the required flows of hosts as the flows of a cluster, with flows of a
// node to itself.
func requiredFlows(hosts backend.Hosts) plan.RequiredFlows {
	role := func(set string) profile.Role {
		return map[string]profile.Role{"control-plane": profile.RoleControlPlane, "nodes": profile.RoleNodes}[set]
	}
	out := plan.RequiredFlows{Parties: map[profile.Role][]netip.Prefix{}, Protected: map[string]bool{}}
	for _, n := range hosts.Nodes {
		out.Protected[n.Name] = true
	}
	for _, set := range hosts.Sets {
		for _, name := range slices.Sorted(maps.Keys(set.Members)) {
			out.Parties[role(set.Name)] = append(out.Parties[role(set.Name)], set.Members[name]...)
		}
	}
	out.Parties[profile.RoleSelf] = out.Parties[profile.RoleNodes]
	for _, flow := range hosts.Required {
		line := profile.Flow{Name: flow.Name, To: profile.RoleControlPlane, Traffic: flow.Traffic}
		for _, source := range flow.From {
			if source.Set != "" {
				line.From = append(line.From, role(source.Set))
				continue
			}
			line.From = append(line.From, profile.RolePods)
			out.Parties[profile.RolePods] = source.Prefixes
		}
		out.Flows = append(out.Flows, line)
	}
	out.Flows = append(out.Flows, profile.Flow{Name: "self", From: []profile.Role{profile.RoleSelf}, To: profile.RoleSelf, Traffic: traffic("all")})
	return out
}

func nodesOf(hosts backend.Hosts) []dataplane.Node {
	var out []dataplane.Node
	for name, prefixes := range hosts.Sets[1].Members {
		n := dataplane.Node{Name: name}
		for _, p := range prefixes {
			n.Addresses = append(n.Addresses, p.Addr())
		}
		out = append(out, n)
	}
	return out
}

func creation(t *testing.T, hosts backend.Hosts) []judge.Write {
	t.Helper()
	waits := hosts.Version == noVersionYet
	if hosts = calico.WithRulesets(hosts); waits {
		for i := range hosts.Nodes {
			hosts.Nodes[i].Ruleset = rollout.Ruleset{}
		}
	}
	objects, err := calico.Render(hosts)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	var out []judge.Write
	for _, object := range objects {
		out = append(out, judge.Write{Object: object})
	}
	return out
}

// removal returns the deletions of the objects, in reverse order.
func removal(writes []judge.Write) []judge.Write {
	out := slices.Clone(writes)
	slices.Reverse(out)
	for i := range out {
		out[i].Delete = true
	}
	return out
}

func TestWriteStagesCutNoRequiredFlow(t *testing.T) {
	for name, change := range map[string]func(*backend.Hosts){
		"components": func(*backend.Hosts) {}, "all that is not listed": denyUnlisted,
	} {
		t.Run(name, func(t *testing.T) {
			g, hosts := NewWithT(t), guarded()
			change(&hosts)
			writes := creation(t, hosts)
			g.Expect(judge.CheckLockout(requiredFlows(hosts), nodesOf(hosts), calico.Live{}, writes)).To(BeZero())
			g.Expect(judge.CheckLockout(requiredFlows(hosts), nodesOf(hosts), calico.Live{}, append(writes, removal(writes)...))).To(BeZero())
		})
	}
}

func TestCutsBetweenWritesAreFound(t *testing.T) {
	deny := policyIn("first", v3.Deny, protocol("TCP"), sources("10.77.0.13/32"), order(1))
	deny.Spec.Selector = "has(cpnp.dev/policy)"
	theirs := tier("first", 1)
	ends := tier("first", 1, func(t *v3.Tier) { t.Spec.DefaultAction = nil })
	allow := policyIn("first", v3.Allow, ports("10250"))
	leaving := policyIn("first", v3.Deny, ports("10250"), selecting("theirs == 'yes'"))
	leaving.Spec.Types, leaving.Spec.Egress, leaving.Spec.Ingress = []v3.PolicyType{v3.PolicyTypeEgress}, leaving.Spec.Ingress, nil
	worker := endpoint("worker", "worker-1", "*")
	worker.Labels = map[string]string{"theirs": "yes"}
	worker.Spec.Profiles = []string{"projectcalico-default-allow"}

	for name, test := range map[string]struct {
		there  calico.Live
		writes func([]judge.Write) []judge.Write
		want   string
	}{
		"by a foreign policy that takes effect once an endpoint exists": {
			there: calico.Live{Tiers: []v3.Tier{theirs}, Policies: []v3.GlobalNetworkPolicy{deny}},
			want: "metrics: tcp/10250 from 10.77.0.13 to 10.77.0.11 would be Denied after the write of HostEndpoint cpnp-cp-1: " +
				"Deny by rule 1 of GlobalNetworkPolicy first.theirs (tier first), on node cp-1",
		},
		"by the end of a foreign tier": {
			there: calico.Live{Tiers: []v3.Tier{ends}, Policies: []v3.GlobalNetworkPolicy{allow}},
			want:  "after the write of HostEndpoint cpnp-cp-1: the end of tier first",
		},
		"where the flow leaves a node": {
			there: calico.Live{Tiers: []v3.Tier{theirs}, Policies: []v3.GlobalNetworkPolicy{leaving}, Endpoints: []v3.HostEndpoint{worker}},
			want:  "is Denied already: Deny by rule 1 of GlobalNetworkPolicy first.theirs (tier first), on node worker-1 (outgoing)",
		},
		"by a managed denial without the managed allow": {
			writes: func(all []judge.Write) []judge.Write {
				return slices.DeleteFunc(all, func(w judge.Write) bool { return called(w, "cpnp.p-required") })
			},
			want: "metrics: tcp/10250 from ",
		},
		"by a managed denial, with failsafe ports written too late": {
			writes: func(all []judge.Write) []judge.Write {
				all = slices.DeleteFunc(all, func(w judge.Write) bool {
					return called(w, "cpnp.p-required") || called(w, "cpnp.p-allow-kubelet")
				})
				return all
			},
			want: "after the write of HostEndpoint",
		},
		"by a set that is deleted while in use": {
			writes: func(all []judge.Write) []judge.Write {
				set := all[slices.IndexFunc(all, func(w judge.Write) bool { return w.Object.GetName() == "cpnp-p-nodes-0" })]
				set.Delete = true
				return append(all, set)
			},
			want: "after the deletion of GlobalNetworkSet cpnp-p-nodes-0",
		},
	} {
		t.Run(name, func(t *testing.T) {
			g, hosts := NewWithT(t), guarded()
			writes := creation(t, hosts)
			if test.writes != nil {
				writes = test.writes(writes)
			}
			report := judge.CheckLockout(requiredFlows(hosts), nodesOf(hosts), test.there, writes)
			cuts := slices.Concat(report.Cuts, report.AlreadyCut)
			g.Expect(cuts).NotTo(BeEmpty())
			g.Expect(cuts[0].String()).To(ContainSubstring(test.want))
		})
	}
}

// found returns the state after writes.
func found(writes []judge.Write) calico.Live {
	var out calico.Live
	for _, w := range writes {
		switch o := w.Object.(type) {
		case *v3.Tier:
			out.Tiers = append(out.Tiers, *o)
		case *v3.GlobalNetworkSet:
			out.Sets = append(out.Sets, *o)
		case *v3.GlobalNetworkPolicy:
			out.Policies = append(out.Policies, *o)
		case *v3.HostEndpoint:
			out.Endpoints = append(out.Endpoints, *o)
		case *v3.FelixConfiguration:
			out.Felix = append(out.Felix, *o)
		}
	}
	return out
}

// with adds foreign objects to a state.
func with(there calico.Live, theirs v3.Tier, policies ...v3.GlobalNetworkPolicy) calico.Live {
	there.Tiers = append(there.Tiers, theirs)
	there.Policies = append(there.Policies, policies...)
	return there
}

// called says whether an object has a name, with or without a version after the name.
func called(w judge.Write, name string) bool {
	return w.Object.GetName() == name || strings.HasPrefix(w.Object.GetName(), name+"-")
}

// only returns the writes of objects with the given names, in the order of the names.
func only(writes []judge.Write, names ...string) []judge.Write {
	var out []judge.Write
	for _, name := range names {
		i := slices.IndexFunc(writes, func(w judge.Write) bool { return called(w, name) })
		out = append(out, writes[i])
	}
	return out
}

func without(writes []judge.Write, names ...string) []judge.Write {
	return slices.DeleteFunc(slices.Clone(writes), func(w judge.Write) bool {
		return slices.ContainsFunc(names, func(name string) bool { return called(w, name) })
	})
}

// noVersionYet marks hosts whose nodes wait without rules.
const noVersionYet = "none yet"

func waiting(h *backend.Hosts) { h.Version = noVersionYet }

// The traps on the way to protected hosts (docs/calico.md).
func TestLockoutTraps(t *testing.T) {
	denies := func(tier string, edits ...edit) v3.GlobalNetworkPolicy {
		return policyIn(tier, v3.Deny, append([]edit{selecting("has(cpnp.dev/policy)")}, edits...)...)
	}
	ends := func(t *v3.Tier) { t.Spec.DefaultAction = nil }
	nothing := func([]judge.Write) calico.Live { return calico.Live{} }
	all := func(writes []judge.Write) []judge.Write { return writes }
	no := func([]judge.Write) []judge.Write { return nil }
	const early, required = "early", "cpnp.p-required"
	type trap struct {
		change       func(*backend.Hosts)
		there        func(all []judge.Write) calico.Live
		writes       func(all []judge.Write) []judge.Write
		cut, already string
	}
	for name, test := range map[string]trap{
		"a foreign policy denies everything in a tier before the operator's": {
			there: func([]judge.Write) calico.Live {
				return with(calico.Live{}, tier(early, 1), policyIn(early, v3.Deny, selecting("all()")))
			},
			writes: all, cut: "Denied after the write of HostEndpoint cpnp-cp-1: Deny by rule 1 of GlobalNetworkPolicy early.theirs",
		},
		"a foreign policy denies everything in a tier after the operator's": {
			there: func([]judge.Write) calico.Live {
				return with(calico.Live{}, tier("late", 1000), policyIn("late", v3.Deny, selecting("all()")))
			},
			writes: all,
		},
		"a foreign tier before the operator's ends with Deny, and selects managed endpoints for another purpose": {
			there: func([]judge.Write) calico.Live {
				return with(calico.Live{}, tier(early, 1, ends), policyIn(early, v3.Allow, selecting("all()"), ports("9100")))
			},
			writes: all, cut: "Denied after the write of HostEndpoint cpnp-cp-1: the end of tier early",
		},
		"a foreign policy denies where the policy enforces: no flow is cut before that": {
			change: waiting,
			there: func([]judge.Write) calico.Live {
				return with(calico.Live{}, tier(early, 1), denies(early, selecting("has(cpnp.dev/enforced)")))
			},
			writes: all,
		},
		"a foreign policy denies where the policy enforces: the denial takes effect when that begins": {
			change: waiting,
			there: func(all []judge.Write) calico.Live {
				return with(found(all), tier(early, 1), denies(early, selecting("has(cpnp.dev/enforced)")))
			},
			writes: func([]judge.Write) []judge.Write { return only(creation(t, guarded()), "cpnp-cp-2") },
			cut:    "to 10.77.0.12 would be Denied after the write of HostEndpoint cpnp-cp-2: Deny by rule 1",
		},
		"an endpoint loses its profile": {
			there: found,
			writes: func(all []judge.Write) []judge.Write {
				bare := only(all, "cpnp-cp-1")[0].Object.(*v3.HostEndpoint).DeepCopy()
				bare.Spec.Profiles = nil
				return []judge.Write{{Object: bare}}
			},
			cut: "no policy decides, and HostEndpoint cpnp-cp-1 has no profile, on node cp-1 (outgoing)",
		},
		"failsafe ports allow a peer that a foreign policy denies, until they are scoped": {
			change: func(h *backend.Hosts) { h.Required[0].From = []backend.Source{{Set: "nodes"}} },
			there: func([]judge.Write) calico.Live {
				return with(calico.Live{}, tier(early, 1), denies(early, ports("2379"), sources("10.77.0.14/32")))
			},
			writes: all,
			cut:    "etcd-peers: tcp/2379 from 10.77.0.14 to 10.77.0.11 would be Denied after the write of FelixConfiguration node.cp-1: Deny by",
		},
		"failsafe ports allow a peer that a foreign policy denies, as long as they stay open": {
			change: func(h *backend.Hosts) { h.Required[0].From, h.ScopeFailsafes = []backend.Source{{Set: "nodes"}}, false },
			there: func([]judge.Write) calico.Live {
				return with(calico.Live{}, tier(early, 1), denies(early, ports("2379"), sources("10.77.0.14/32")))
			},
			writes: all,
		},
		"a denying policy is written before the allowing one": {
			there:  nothing,
			writes: func(all []judge.Write) []judge.Write { return append(without(all, required), only(all, required)...) },
			cut:    "Denied after the write of HostEndpoint cpnp-cp-1: Deny by rule 1 of GlobalNetworkPolicy cpnp.p-deny-kubelet",
		},
		"an allowing policy is deleted before the denying one": {
			there: found,
			writes: func(all []judge.Write) []judge.Write {
				return removal(append(without(all, required), only(all, required)...))
			},
			cut: "Denied after the deletion of GlobalNetworkPolicy cpnp.p-required-",
		},
		"an allowing policy was deleted, and is restored": {
			there: func(all []judge.Write) calico.Live { return found(without(all, required)) },
			writes: func(all []judge.Write) []judge.Write {
				return only(all, "cpnp.p-allow-kubelet", required, "cpnp-cp-1")
			},
		},
		"an allowing policy was deleted, and is not restored": {
			there:  func(all []judge.Write) calico.Live { return found(without(all, required)) },
			writes: no, already: "metrics: tcp/10250 from 10.77.0.14 to 10.77.0.11 is Denied already: Deny by rule 1 of GlobalNetworkPolicy cpnp.p-deny-kubelet",
		},
		"an allowing policy is restored, and a foreign policy denies the same flow": {
			there: func(all []judge.Write) calico.Live {
				return with(found(without(all, required)), tier(early, 1), denies(early, ports("10250"), sources("10.77.0.14/32")))
			},
			writes:  func(all []judge.Write) []judge.Write { return only(all, required) },
			already: "metrics: tcp/10250 from 10.77.0.14 to 10.77.0.11 is Denied already: Deny by rule 1 of GlobalNetworkPolicy early.theirs",
		},
		"a foreign policy cuts a flow before the first write, and after the last": {
			there: func([]judge.Write) calico.Live {
				theirs := policyIn(early, v3.Deny, ports("10250"), sources("10.77.0.14/32"))
				there := with(calico.Live{}, tier(early, 1), theirs)
				there.Endpoints = []v3.HostEndpoint{endpoint("theirs", "cp-3", "*")}
				there.Endpoints[0].Spec.Profiles = []string{"projectcalico-default-allow"}
				return there
			},
			writes:  func(all []judge.Write) []judge.Write { return without(all, "cpnp-cp-1", "cpnp-cp-2", "cpnp-cp-3") },
			already: "metrics: tcp/10250 from 10.77.0.14 to 10.77.0.13 is Denied already: Deny by rule 1 of GlobalNetworkPolicy early.theirs (tier early), on node cp-3",
		},
		"a foreign policy cuts a flow, and the operator cuts another": {
			there: func(all []judge.Write) calico.Live {
				return with(found(without(all, "cpnp-cp-2")), tier(early, 1), denies(early, ports("10250"), sources("10.77.0.14/32")))
			},
			writes: func(all []judge.Write) []judge.Write { return only(all, "cpnp-cp-2") },
			cut:    "metrics: tcp/10250 from 10.77.0.14 to 10.77.0.12 would be Denied after the write of HostEndpoint cpnp-cp-2",
		},
		"a peer that was cut off before does not represent one that was not": {
			there: func(all []judge.Write) calico.Live {
				return with(found(all), tier(early, 1), denies(early, ports("10250"), sources("10.77.0.14/32")))
			},
			writes: func([]judge.Write) []judge.Write {
				wider := denies(early, ports("10250"), sources("10.77.0.14/31"))
				return []judge.Write{{Object: &wider}}
			},
			cut: "metrics: tcp/10250 from 10.77.0.15 to 10.77.0.11 would be Denied after the write of GlobalNetworkPolicy early.theirs",
		},
		"a flow is unknown at first, and denied then": {
			there: func(all []judge.Write) calico.Live {
				there := with(found(without(all, "cpnp-cp-1")), tier(early, 1), denies(early, ports("10250"), sources("10.77.0.14/32")))
				there.Endpoints = append(there.Endpoints, endpoint("theirs", "cp-1", "eth0"))
				there.Endpoints[len(there.Endpoints)-1].Labels = map[string]string{"cpnp.dev/policy": "p"}
				return there
			},
			writes: func(all []judge.Write) []judge.Write { return only(all, "cpnp-cp-1") },
			cut:    "metrics: tcp/10250 from 10.77.0.14 to 10.77.0.11 would be Denied after the write of HostEndpoint cpnp-cp-1",
		},
		"only IPv6 is denied": {
			there: func([]judge.Write) calico.Live {
				return with(calico.Live{}, tier(early, 1), denies(early, sources("fd77::/64")))
			},
			writes: all, cut: "from fd77::11 to fd77::11 would be Denied after the write of HostEndpoint cpnp-cp-1",
		},
		"a node joins that a foreign policy denies": {
			change: func(h *backend.Hosts) { h.Required = h.Required[1:] },
			there: func(all []judge.Write) calico.Live {
				return with(found(without(all, "cpnp-cp-3", "node.cp-3")), tier(early, 1), denies(early, ports("10250"), destinations("10.77.0.13/32")))
			},
			writes: func(all []judge.Write) []judge.Write { return only(all, "cpnp-cp-3", "node.cp-3") },
			cut:    "to 10.77.0.13 would be Denied after the write of HostEndpoint cpnp-cp-3",
		},
		"a set loses the label by which a foreign policy allows it": {
			there: func(all []judge.Write) calico.Live {
				office := rule(func(r *v3.Rule) { r.Source.Selector = "has(office)" })
				there := with(found(all), tier(early, 1, ends), policyIn(early, v3.Allow, selecting("has(cpnp.dev/policy)"), office))
				there.Sets = append(there.Sets, v3.GlobalNetworkSet{
					ObjectMeta: metav1.ObjectMeta{Name: "office", Labels: map[string]string{"office": ""}},
					Spec:       v3.GlobalNetworkSetSpec{Nets: []string{"0.0.0.0/0", "::/0"}},
				})
				return there
			},
			writes: func([]judge.Write) []judge.Write {
				return []judge.Write{{Object: &v3.GlobalNetworkSet{ObjectMeta: named("office")}}}
			},
			cut: "Denied after the write of GlobalNetworkSet office: the end of tier early",
		},
	} {
		t.Run(name, func(t *testing.T) {
			g, hosts := NewWithT(t), guarded()
			if test.change != nil {
				test.change(&hosts)
			}
			writes := creation(t, hosts)
			report := judge.CheckLockout(requiredFlows(hosts), nodesOf(guarded()), test.there(writes), test.writes(creation(t, hosts)))
			for _, list := range []struct {
				cuts []judge.Cut
				want string
			}{{report.Cuts, test.cut}, {report.AlreadyCut, test.already}} {
				if list.want == "" {
					g.Expect(list.cuts).To(BeEmpty())
					continue
				}
				g.Expect(list.cuts).To(ContainElement(HaveField("String()", ContainSubstring(list.want))))
			}
		})
	}
}

// Nodes do not show their addresses in a dedicated network: each node may have each address.
func TestFlowsToAddressesThatNoNodeShows(t *testing.T) {
	const early = "early"
	dedicated := prefixes("10.78.0.11/32", "10.78.0.12/32", "10.78.0.13/32")
	hosts := guarded()
	members := []backend.Source{{Set: "control-plane"}}
	hosts.Required = append(hosts.Required, backend.Flow{Name: "replication", From: members, Traffic: traffic("tcp/7000-7001")})
	required := requiredFlows(hosts)
	members = append(members, backend.Source{Prefixes: dedicated})
	replication := backend.Component{
		Name: "replication", Ports: traffic("tcp/7000"), From: members, Interface: "eth1", Address: netip.MustParsePrefix("10.78.0.0/24"),
	}
	hosts.Components = append(hosts.Components, replication)
	hosts.Required[0].From, hosts.Required[2].From = members, members
	required.Parties[profile.RoleControlPlane] = append(required.Parties[profile.RoleControlPlane], dedicated...)
	required.Dedicated = []plan.Dedicated{{Addresses: dedicated, Traffic: replication.Ports, Interface: "eth1"}}
	for name, test := range map[string]struct {
		network bool
		rule    edit
		iface   string
		cut     string
	}{
		"no flow is denied":                                    {rule: all(ports("7000"), destinations("10.79.0.0/24"))},
		"the network is denied":                                {rule: destinations("10.78.0.0/24"), cut: "to 10.78.0.11 by eth1 would be Denied after the write of HostEndpoint cpnp-cp-1"},
		"one address is denied":                                {rule: destinations("10.78.0.12/32"), cut: "to 10.78.0.12 by eth1 would be Denied"},
		"one address is denied to another":                     {rule: all(sources("10.78.0.13/32"), destinations("10.78.0.12/32")), cut: "from 10.78.0.13 to 10.78.0.12 by eth1 would be Denied"},
		"the network is denied, and no address in it is known": {network: true, rule: destinations("10.78.0.0/24"), cut: "to 10.78.0.0 by eth1 would be Denied"},
		"the network is denied to a worker":                    {rule: all(sources("10.77.0.14/32"), destinations("10.78.0.0/24"))},
		"another port of the network":                          {rule: all(ports("7001"), destinations("10.78.0.0/24"))},
		"another interface than that of the network":           {rule: destinations("10.78.0.0/24"), iface: "!has(cpnp.dev/interface)"},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			required := required
			if test.network {
				required.Dedicated = []plan.Dedicated{{Addresses: prefixes("10.78.0.0/24"), Traffic: replication.Ports, Interface: "eth1"}}
			}
			theirs := policyIn(early, v3.Deny, selecting(cmp.Or(test.iface, "has(cpnp.dev/policy)")), test.rule)
			report := judge.CheckLockout(required, nodesOf(guarded()), with(calico.Live{}, tier(early, 1), theirs), creation(t, hosts))
			g.Expect(report.AlreadyCut).To(BeEmpty())
			if test.cut == "" {
				g.Expect(report.Cuts).To(BeEmpty())
				return
			}
			g.Expect(report.Cuts).To(ContainElement(HaveField("String()", And(HavePrefix("replication: tcp/7000"), ContainSubstring(test.cut)))))
		})
	}
}

func all(edits ...edit) edit {
	return func(p *v3.GlobalNetworkPolicy) {
		for _, edit := range edits {
			edit(p)
		}
	}
}

// A node is judged as the sender to itself, whoever else a flow is for, and as
// the sender to other nodes, although the node represents the other nodes too.
func TestANodeIsJudgedForItself(t *testing.T) {
	g, hosts := NewWithT(t), guarded()
	hosts.Required = []backend.Flow{{Name: "pods", From: []backend.Source{{Prefixes: prefixes("10.200.0.0/16")}}, Traffic: traffic("tcp/10250")}}
	own := policyIn("first", v3.Deny, sources("10.77.0.11/32"), selecting("has(cpnp.dev/policy)"))
	there := calico.Live{Tiers: []v3.Tier{tier("first", 1)}, Policies: []v3.GlobalNetworkPolicy{own}}
	cuts := judge.CheckLockout(requiredFlows(hosts), nodesOf(hosts), there, creation(t, hosts)).Cuts
	g.Expect(cuts).NotTo(BeEmpty())
	for _, cut := range cuts {
		g.Expect([]string{cut.Name, cut.Flow.From.String(), cut.Flow.To.String()}).To(Equal([]string{"self", "10.77.0.11", "10.77.0.11"}))
	}

	hosts = guarded()
	theirs := calico.Live{Tiers: []v3.Tier{tier("first", 1)}, Policies: []v3.GlobalNetworkPolicy{policyIn("first", v3.Deny)}}
	for _, n := range hosts.Nodes {
		theirs.Endpoints = append(theirs.Endpoints, endpoint("theirs-"+n.Name, n.Name, "eth0"))
	}
	hosts.Required = hosts.Required[1:]
	hosts.Required[0].From = []backend.Source{{Set: "control-plane"}}
	cuts = judge.CheckLockout(requiredFlows(hosts), nodesOf(hosts), theirs, nil).AlreadyCut
	g.Expect(cuts).NotTo(BeEmpty())
	g.Expect(cuts[0].Verdict.Decision).To(Equal(dataplane.Unknown), "the flow may arrive on another interface")
	g.Expect(cuts[0].Flow.From).NotTo(Equal(cuts[0].Flow.To))
}

// A class represents all its members: every cut between a pair of nodes is found, and no other cut.
func TestGroupsHideNoCut(t *testing.T) {
	hosts := guarded()
	for i, from := range []string{"10.77.0.11", "10.77.0.12", "10.77.0.16", "fd77::16", "10.200.3.4", "10.201.0.1", "fd99::1"} {
		for j, to := range []string{"10.77.0.11", "10.77.0.13", "fd77::12"} {
			if netip.MustParseAddr(from).Is4() != netip.MustParseAddr(to).Is4() {
				continue
			}
			t.Run(from+" "+to, func(t *testing.T) {
				deny := policyIn("first", v3.Deny, ports("10250:10251"), sources(from), destinations(to), selecting("has(cpnp.dev/policy)"))
				there := calico.Live{Tiers: []v3.Tier{tier("first", 1)}, Policies: []v3.GlobalNetworkPolicy{deny}}
				cuts := judge.CheckLockout(requiredFlows(hosts), nodesOf(hosts), there, creation(t, hosts)).Cuts
				if from == to || i > 4 {
					NewWithT(t).Expect(len(cuts) > 0).To(Equal(from == to), "%d: %v", j, cuts)
					return
				}
				NewWithT(t).Expect(cuts).NotTo(BeEmpty())
				for _, cut := range cuts {
					NewWithT(t).Expect([]string{cut.Flow.From.String(), cut.Flow.To.String()}).To(Equal([]string{from, to}))
				}
			})
		}
	}
}

// Objects from a cache have no kind.
func TestSequenceListsTheWritesInOrder(t *testing.T) {
	g := NewWithT(t)
	set := func(name string) plan.Object { return &v3.GlobalNetworkSet{ObjectMeta: named(name)} }
	felix := &v3.FelixConfiguration{ObjectMeta: named("node.cp-1")}
	conflicted := []drift.Finding{{State: v1alpha1.StateConflicted}}
	sequence := judge.WritesOf(drift.Diff{
		Writes: []drift.Write{
			{Desired: &v3.Tier{ObjectMeta: named("cpnp")}}, {Desired: set("a"), Live: set("a")},
			{Desired: felix, Live: felix, Findings: conflicted},
		},
		Removals: []drift.Write{
			{Live: &v3.HostEndpoint{ObjectMeta: named("cpnp-cp-1")}}, {Live: &v3.GlobalNetworkPolicy{ObjectMeta: named("cpnp.p")}},
			{Desired: set("b"), Live: set("b")},
		},
	})
	var names []string
	for _, write := range sequence {
		names = append(names, write.String())
	}
	g.Expect(names).To(Equal([]string{
		"write of Tier cpnp", "write of GlobalNetworkSet a",
		"deletion of HostEndpoint cpnp-cp-1", "deletion of GlobalNetworkPolicy cpnp.p", "write of GlobalNetworkSet b",
	}))
}
