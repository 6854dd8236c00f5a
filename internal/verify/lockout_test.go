// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"

	"github.com/cpnp-dev/cpnp-operator/internal/plan/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/verify"
	"github.com/cpnp-dev/cpnp-operator/internal/verify/dataplane"
)

// guarded returns the protection of three nodes, of whose cluster there is one
// more, with flows that are required from all of them.
func guarded() calico.Hosts {
	members := map[string][]netip.Prefix{}
	hosts := calico.Hosts{Policy: "p"}
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
	hosts.Sets = []calico.Set{{Name: "control-plane", Members: controlPlane}, {Name: "nodes", Members: members}}
	hosts.Components = []calico.Component{
		{Name: "kubelet", Ports: traffic("tcp/10250"), From: []calico.Source{{Set: "control-plane"}}},
		{Name: "etcd", Ports: traffic("tcp/2379-2380"), From: []calico.Source{{Set: "control-plane"}}},
	}
	hosts.ScopeFailsafes = true
	hosts.Required = []calico.Flow{
		{Name: "etcd-peers", From: []calico.Source{{Set: "control-plane"}}, Traffic: traffic("tcp/2379-2380")},
		{Name: "metrics", From: []calico.Source{{Set: "nodes"}, {Prefixes: prefixes("10.200.0.0/16")}}, Traffic: traffic("tcp/10250", "udp/8472")},
	}
	return hosts
}

func nodesOf(hosts calico.Hosts) []dataplane.Node {
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

func creation(t *testing.T, hosts calico.Hosts) []verify.Write {
	t.Helper()
	objects, err := calico.Render(hosts)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	var out []verify.Write
	for _, object := range objects {
		out = append(out, verify.Write{Object: object})
	}
	return out
}

// removal is the removal of the objects, in the reverse order.
func removal(writes []verify.Write) []verify.Write {
	out := slices.Clone(writes)
	slices.Reverse(out)
	for i := range out {
		out[i].Delete = true
	}
	return out
}

func TestNothingIsCutInTheOrderInWhichObjectsMayBeWritten(t *testing.T) {
	for name, change := range map[string]func(*calico.Hosts){
		"components": func(*calico.Hosts) {}, "all that is not listed": denyUnlisted,
	} {
		t.Run(name, func(t *testing.T) {
			g, hosts := NewWithT(t), guarded()
			change(&hosts)
			writes := creation(t, hosts)
			g.Expect(verify.Lockout(hosts, nodesOf(hosts), state.Calico{}, writes)).To(BeEmpty())
			g.Expect(verify.Lockout(hosts, nodesOf(hosts), state.Calico{}, append(writes, removal(writes)...))).To(BeEmpty())
		})
	}
}

func TestWhatIsCutInBetweenIsFound(t *testing.T) {
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
		there  state.Calico
		writes func([]verify.Write) []verify.Write
		want   string
	}{
		"by a policy of others that bites once there is an endpoint": {
			there: state.Calico{Tiers: []v3.Tier{theirs}, Policies: []v3.GlobalNetworkPolicy{deny}},
			want: "metrics: tcp/10250 from 10.77.0.13 to 10.77.0.11 would be Denied after the write of HostEndpoint cpnp-cp-1: " +
				"Deny by rule 1 of GlobalNetworkPolicy first.theirs (tier first), on node cp-1",
		},
		"by the end of a tier of others": {
			there: state.Calico{Tiers: []v3.Tier{ends}, Policies: []v3.GlobalNetworkPolicy{allow}},
			want:  "after the write of HostEndpoint cpnp-cp-1: the end of tier first",
		},
		"where it leaves a node": {
			there: state.Calico{Tiers: []v3.Tier{theirs}, Policies: []v3.GlobalNetworkPolicy{leaving}, Endpoints: []v3.HostEndpoint{worker}},
			want:  "would be Denied already: Deny by rule 1 of GlobalNetworkPolicy first.theirs (tier first), on node worker-1, where it leaves",
		},
		"by ours, without those that allow": {
			writes: func(all []verify.Write) []verify.Write {
				return slices.DeleteFunc(all, func(w verify.Write) bool { return w.Object.GetName() == "cpnp.p-required" })
			},
			want: "metrics: tcp/10250 from ",
		},
		"by ours, with failsafes last in the wrong order": {
			writes: func(all []verify.Write) []verify.Write {
				all = slices.DeleteFunc(all, func(w verify.Write) bool {
					return w.Object.GetName() == "cpnp.p-required" || w.Object.GetName() == "cpnp.p-allow-kubelet"
				})
				return all
			},
			want: "after the write of HostEndpoint",
		},
		"by a set that goes while it is in use": {
			writes: func(all []verify.Write) []verify.Write {
				set := all[slices.IndexFunc(all, func(w verify.Write) bool { return w.Object.GetName() == "cpnp-p-nodes-0" })]
				set.Delete = true
				return append(all, set)
			},
			want: "after the write of GlobalNetworkSet cpnp-p-nodes-0",
		},
	} {
		t.Run(name, func(t *testing.T) {
			g, hosts := NewWithT(t), guarded()
			writes := creation(t, hosts)
			if test.writes != nil {
				writes = test.writes(writes)
			}
			cuts := verify.Lockout(hosts, nodesOf(hosts), test.there, writes)
			g.Expect(cuts).NotTo(BeEmpty())
			g.Expect(cuts[0].String()).To(ContainSubstring(test.want))
		})
	}
}

// A node is judged as the sender to itself, whoever else a flow is for, and as
// the sender to others, though it stands for them.
func TestANodeIsNotTakenForAnother(t *testing.T) {
	g, hosts := NewWithT(t), guarded()
	hosts.Required = []calico.Flow{{Name: "pods", From: []calico.Source{{Prefixes: prefixes("10.200.0.0/16")}}, Traffic: traffic("tcp/10250")}}
	own := policyIn("first", v3.Deny, sources("10.77.0.11/32"), selecting("has(cpnp.dev/policy)"))
	there := state.Calico{Tiers: []v3.Tier{tier("first", 1)}, Policies: []v3.GlobalNetworkPolicy{own}}
	cuts := verify.Lockout(hosts, nodesOf(hosts), there, creation(t, hosts))
	g.Expect(cuts).To(HaveLen(1))
	g.Expect(cuts[0].Flow.From).To(Equal(cuts[0].Flow.To))

	hosts = guarded()
	theirs := state.Calico{Tiers: []v3.Tier{tier("first", 1)}, Policies: []v3.GlobalNetworkPolicy{policyIn("first", v3.Deny)}}
	for _, n := range hosts.Nodes {
		theirs.Endpoints = append(theirs.Endpoints, endpoint("theirs-"+n.Name, n.Name, "eth0"))
	}
	hosts.Required = hosts.Required[1:]
	hosts.Required[0].From = []calico.Source{{Set: "control-plane"}}
	cuts = verify.Lockout(hosts, nodesOf(hosts), theirs, nil)
	g.Expect(cuts).NotTo(BeEmpty())
	g.Expect(cuts[0].Verdict.Decision).To(Equal(dataplane.Unknown), "it may come in elsewhere")
	g.Expect(cuts[0].Flow.From).NotTo(Equal(cuts[0].Flow.To))
}

// A class stands for all: what is cut of any pair of nodes is found, and nothing
// else.
func TestGroupsHideNoCut(t *testing.T) {
	hosts := guarded()
	for i, from := range []string{"10.77.0.11", "10.77.0.12", "10.77.0.16", "fd77::16", "10.200.3.4", "10.201.0.1", "fd99::1"} {
		for j, to := range []string{"10.77.0.11", "10.77.0.13", "fd77::12"} {
			if netip.MustParseAddr(from).Is4() != netip.MustParseAddr(to).Is4() {
				continue
			}
			t.Run(from+" "+to, func(t *testing.T) {
				deny := policyIn("first", v3.Deny, ports("10250:10251"), sources(from), destinations(to), selecting("has(cpnp.dev/policy)"))
				there := state.Calico{Tiers: []v3.Tier{tier("first", 1)}, Policies: []v3.GlobalNetworkPolicy{deny}}
				cuts := verify.Lockout(hosts, nodesOf(hosts), there, creation(t, hosts))
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
