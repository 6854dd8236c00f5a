// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	corev1 "k8s.io/api/core/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
)

// netsOf returns the networks of a rendered set.
func netsOf(hosts plan.Hosts, set string) []string {
	var nets []string
	for _, object := range hosts.WholeObjects {
		if s, is := object.(*v3.GlobalNetworkSet); is && s.Labels[calico.LabelPeer] == set {
			nets = append(nets, s.Spec.Nets...)
		}
	}
	slices.Sort(nets)
	return nets
}

// The role ControlPlane covers every node of the control plane, even if the policy selects only some of them.
func TestUnselectedNodesOfTheControlPlaneAreAllowed(t *testing.T) {
	g := NewWithT(t)
	label := func(n *corev1.Node, label string) *corev1.Node {
		n.Labels = map[string]string{label: ""}
		return n
	}
	snapshot := machines(
		machine("cp-1", "10.0.0.1"), label(machine("cp-2", "10.0.0.2"), "node-role.kubernetes.io/master"),
		label(machine("etcd-1", "10.0.0.3"), "node-role.kubernetes.io/etcd"), machine("worker-1", "10.0.0.4"), machine("worker-2", "10.0.0.5"),
	)
	snapshot.Facts.APIServer = []netip.AddrPort{netip.MustParseAddrPort("10.0.0.5:6443")}
	hosts := protect(t, snapshot)
	g.Expect(hosts.Whole.Nodes).To(HaveLen(1))
	g.Expect(netsOf(hosts, "control-plane")).To(Equal([]string{"10.0.0.1/32", "10.0.0.2/32", "10.0.0.3/32", "10.0.0.5/32"}))
}

// A component on a network of its own is not restricted before the control
// plane's addresses in that network are known.
func TestComponentOnASeparateNetwork(t *testing.T) {
	const network = "10.78.0.0/24"
	named := func(cidrs ...v1alpha1.CIDR) edit {
		return func(p *v1alpha1.ControlPlaneNetworkPolicy) {
			p.Spec.Network.Peers = append(p.Spec.Network.Peers, v1alpha1.Peer{Name: "members", Role: "ControlPlane", CIDRs: cidrs})
		}
	}
	for name, test := range map[string]struct {
		iface  string
		edits  []edit
		second bool // whether nodes show their address in the network
		held   bool
	}{
		"the addresses are unknown":                                                   {held: true},
		"the addresses are unknown, on the component's interface":                     {iface: "eth1", held: true},
		"the nodes show their addresses":                                              {second: true},
		"a peer has the network":                                                      {edits: []edit{named(network)}},
		"a peer has the network, on the component's interface":                        {iface: "eth1", edits: []edit{named(network)}},
		"a peer has a larger network":                                                 {edits: []edit{named("10.78.0.0/16")}},
		"a peer has a part of the network":                                            {edits: []edit{named("10.78.0.0/25")}, held: true},
		"a peer has another address of the network":                                   {edits: []edit{named("10.78.0.200/32")}, held: true},
		"a peer has the address of one node of two, on the component's interface":     {iface: "eth1", edits: []edit{named("10.78.0.1/32")}, held: true},
		"a peer has the address of every node":                                        {edits: []edit{named("10.78.0.1/32", "10.78.0.2/32")}},
		"a peer has the address of every node, and an address outside of the network": {edits: []edit{named("10.78.0.1/32", "192.0.2.2/32")}, held: true},
		"a component that no node has to reach": {
			edits: []edit{func(p *v1alpha1.ControlPlaneNetworkPolicy) {
				p.Spec.Network.Components[0].Ports = []v1alpha1.Port{tcp(9000)}
			}}, held: true,
		},
		"a component that no node has to reach, on its interface": {
			iface: "eth1", edits: []edit{func(p *v1alpha1.ControlPlaneNetworkPolicy) {
				p.Spec.Network.Components[0].Name, p.Spec.Network.Components[0].Ports = "admin", []v1alpha1.Port{tcp(9000)}
			}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			addresses := [][]string{{"10.0.0.1"}, {"10.0.0.2"}}
			if test.second {
				addresses = [][]string{{"10.0.0.1", "10.78.0.1"}, {"10.0.0.2", "10.78.0.2"}}
			}
			snapshot := machines(machine("cp-1", addresses[0]...), machine("cp-2", addresses[1]...), machine("worker-1", "10.0.0.3"))
			dedicated := func(p *v1alpha1.ControlPlaneNetworkPolicy) {
				p.Spec.Network.Components[0].Interface = test.iface
				p.Spec.Network.Components[0].AddressCIDR = network
			}
			policies := compile(policy("p", slices.Concat([]edit{etcd, dedicated}, test.edits)...))
			hosts := plan.HostProtection(&policies[0], policies, snapshot)
			if !test.held {
				g.Expect(hosts.Held).To(BeEmpty())
				g.Expect(hosts.WholeObjects).NotTo(BeEmpty())
				return
			}
			g.Expect(hosts.Held).To(HaveLen(1))
			g.Expect(hosts.Held[0].Reason).To(Equal(v1alpha1.ReasonAddressesUnknown))
			g.Expect(hosts.Held[0].Why).To(ContainSubstring("in 10.78.0.0/24"))
		})
	}
}

// A node that shows no address for a while keeps its former addresses. Without them the
// node could not reach the API server, and so could never show its addresses again.
func TestANodeThatShowsNoAddressKeepsItsFormerAddresses(t *testing.T) {
	g := NewWithT(t)
	nodes := []*corev1.Node{machine("cp-1", "10.0.0.1"), machine("cp-2", "10.0.0.2"), machine("worker-1", "10.0.0.3")}
	all := func(p *v1alpha1.ControlPlaneNetworkPolicy) {
		p.Spec.Network.Components[0].AllowFrom = append(p.Spec.Network.Components[0].AllowFrom, v1alpha1.PeerReference{Role: "Nodes"})
	}
	before := protect(t, machines(nodes...), all)
	there := calico.Live{Mode: calico.Native}
	for _, object := range before.WholeObjects {
		switch o := object.(type) {
		case *v3.GlobalNetworkSet:
			there.Sets = append(there.Sets, *o)
		case *v3.HostEndpoint:
			there.Endpoints = append(there.Endpoints, *o)
		}
	}
	for name, silent := range map[string][]int{"a protected node": {0}, "a worker": {2}, "all": {0, 1, 2}} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			snapshot := machines(slices.Clone(nodes)...)
			for _, i := range silent {
				snapshot.Nodes[i] = machine(nodes[i].Name)
			}
			snapshot.Backend = there
			after := protect(t, snapshot, all)
			g.Expect(after.Addressless).To(BeEmpty())
			g.Expect(netsOf(after, "control-plane")).To(Equal(netsOf(before, "control-plane")))
			g.Expect(netsOf(after, "nodes")).To(Equal(netsOf(before, "nodes")))
			g.Expect(endpointsOf(after)).To(Equal(endpointsOf(before)))
		})
	}

	// An address of a deleted node is not kept once all other nodes show their addresses.
	snapshot := machines(nodes[:2]...)
	snapshot.Backend = there
	g.Expect(netsOf(protect(t, snapshot, all), "nodes")).To(Equal([]string{"10.0.0.1/32", "10.0.0.2/32"}))
	// A node that has never shown an address is not protected, which is reported.
	joining := protect(t, machines(append(slices.Clone(nodes), machine("cp-3"))...), all)
	g.Expect(joining.Addressless).To(Equal([]string{"cp-3"}))
	g.Expect(endpointsOf(joining)).To(Equal(endpointsOf(before)))
}

// endpointsOf returns the rendered endpoints with their addresses.
func endpointsOf(hosts plan.Hosts) map[string]string {
	out := map[string]string{}
	for _, object := range hosts.WholeObjects {
		if e, is := object.(*v3.HostEndpoint); is {
			out[e.Name] = strings.Join(e.Spec.ExpectedIPs, " ")
		}
	}
	return out
}

// A policy for nodes outside the control plane allows its selected nodes in the role
// ControlPlane, but is not judged by them, because another policy need not allow them.
func TestWhichNodesCountAsTheControlPlane(t *testing.T) {
	selected := func(p *v1alpha1.ControlPlaneNetworkPolicy) {
		p.Spec.NodeSelector = v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"infra": ""}}
	}
	infra := machine("worker-1", "10.0.0.3")
	infra.Labels = map[string]string{"infra": ""}
	parties := func(nodes ...*corev1.Node) (out []string) {
		for _, prefix := range protect(t, machines(nodes...), selected).RequiredFlows.Parties[profile.RoleControlPlane] {
			out = append(out, prefix.String())
		}
		return out
	}
	g := NewWithT(t)
	g.Expect(parties(machine("cp-1", "10.0.0.1"), machine("cp-2", "10.0.0.2"), infra)).To(Equal([]string{"10.0.0.1/32", "10.0.0.2/32"}))
	g.Expect(parties(infra, machine("worker-2", "10.0.0.4"))).To(Equal([]string{"10.0.0.3/32"}), "no node shows its role")
}
