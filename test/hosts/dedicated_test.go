// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"net/netip"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	render "github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/test/field"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/network"
)

// On a dedicated network the policy acts on its interface, leaves the other interface
// alone, and closes the bypass to the dedicated address through the other interface.
func TestDedicatedInterfaceHasNoBypass(t *testing.T) {
	f := field.StartCluster(t, calico.IPTables)
	target, peer, outsider := f.Cluster.Machine("cp-1"), f.Cluster.Machine("cp-2"), f.Cluster.Machine(calico.Outsider)
	detour := routeThroughOtherNetwork(f, target)
	for _, from := range []*network.Machine{peer, outsider, detour} {
		f.Expect(tryOtherPort(f, from, target.Dedicated.IPv4)()).To(Equal(network.Open), "before the policy, from "+from.Name)
	}

	hosts := hostsOf(f)
	hosts.Components = []backend.Component{{
		Name:      "metrics",
		Ports:     []profile.Traffic{{Protocol: profile.TCP, First: field.OtherPort, Last: field.OtherPort}},
		Interface: "eth1",
		Address:   netip.MustParsePrefix("10.78.0.0/24"),
		From:      []backend.Source{{Prefixes: []netip.Prefix{netip.PrefixFrom(peer.Dedicated.IPv4, 32)}}},
	}}
	applyObjects(t, render.WithRulesets(hosts))
	f.Eventually(tryOtherPort(f, outsider, target.Dedicated.IPv4), field.Patience, field.Tick).Should(Equal(network.Dropped))
	f.Eventually(tryOtherPort(f, detour, target.Dedicated.IPv4), field.Patience, field.Tick).Should(Equal(network.Dropped))
	f.Expect(tryOtherPort(f, peer, target.Dedicated.IPv4)()).To(Equal(network.Open))
	for _, from := range []*network.Machine{peer, outsider} {
		f.Expect(tryOtherPort(f, from, target.Cluster.IPv4)()).To(Equal(network.Open), "eth0 is not restricted, from "+from.Name)
	}
}

// A policy leads to the same rules. Without the addresses of the dedicated network the
// bypass stays open, and the status reports the bypass.
func TestThePolicyProtectsADedicatedNetwork(t *testing.T) {
	f := field.StartCluster(t, calico.IPTables)
	target, peer, outsider := f.Cluster.Machine("cp-1"), f.Cluster.Machine("cp-2"), f.Cluster.Machine(calico.Outsider)
	detour := routeThroughOtherNetwork(f, target)
	f.StartQuickOperator()
	f.CreatePolicy(f.NewPolicy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) {
		cidrs := []v1alpha1.CIDR{
			v1alpha1.CIDR(netip.PrefixFrom(peer.Dedicated.IPv4, 32).String()), v1alpha1.CIDR(netip.PrefixFrom(peer.Dedicated.IPv6, 128).String()),
		}
		s.Network.Peers = []v1alpha1.Peer{{Name: "replication", CIDRs: cidrs}}
		s.Network.Components = []v1alpha1.Component{{
			Name: "metrics", Interface: "eth1", Ports: []v1alpha1.Port{{Protocol: "TCP", Port: field.OtherPort}}, AllowFrom: []v1alpha1.PeerReference{{Peer: "replication"}},
		}}
	}))
	f.WaitForCondition(v1alpha1.ConditionEffective, "False/"+v1alpha1.ReasonBypassPossible)
	f.Eventually(tryOtherPort(f, outsider, target.Dedicated.IPv4), field.Patience, field.Tick).Should(Equal(network.Dropped))
	f.Expect(tryOtherPort(f, outsider, target.Dedicated.IPv6)()).To(Equal(network.Dropped), "IPv6 is restricted too")
	for _, to := range []netip.Addr{target.Dedicated.IPv4, target.Dedicated.IPv6} {
		f.Expect(tryOtherPort(f, detour, to)()).To(Equal(network.Open), "the reported bypass is open")
	}

	t.Log("closed for one IP version, the bypass is open for the other IP version, and reported")
	f.UpdatePolicy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Network.Components[0].AddressCIDR = "10.78.0.0/24" })
	f.Eventually(tryOtherPort(f, detour, target.Dedicated.IPv4), field.Patience, field.Tick).Should(Equal(network.Dropped))
	f.Expect(tryOtherPort(f, detour, target.Dedicated.IPv6)()).To(Equal(network.Open))
	f.WaitForCondition(v1alpha1.ConditionProgrammed, "True/AsDeclared")
	f.WaitForCondition(v1alpha1.ConditionEffective, "False/"+v1alpha1.ReasonBypassPossible)
	f.Expect(field.ConditionMessage(v1alpha1.ConditionEffective)).To(ContainSubstring("metrics (eth1, IPv6)"))

	f.UpdatePolicy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) {
		other := *s.Network.Components[0].DeepCopy()
		other.Name, other.AddressCIDR = "metrics-ipv6", "fd78::/64"
		s.Network.Components = append(s.Network.Components, other)
	})
	f.Eventually(tryOtherPort(f, detour, target.Dedicated.IPv6), field.Patience, field.Tick).Should(Equal(network.Dropped))
	f.WaitForCondition(v1alpha1.ConditionReady, "True/AsDeclared")
	for _, from := range []*network.Machine{outsider, detour} {
		for _, to := range []netip.Addr{target.Dedicated.IPv4, target.Dedicated.IPv6} {
			f.Expect(tryOtherPort(f, from, to)()).To(Equal(network.Dropped), "from "+from.Name)
		}
	}
	for _, to := range []netip.Addr{target.Dedicated.IPv4, target.Dedicated.IPv6} {
		f.Expect(tryOtherPort(f, peer, to)()).To(Equal(network.Open))
	}
	for _, from := range []*network.Machine{peer, outsider} {
		f.Expect(tryOtherPort(f, from, target.Cluster.IPv4)()).To(Equal(network.Open), "eth0 is not restricted, from "+from.Name)
		f.Expect(tryOtherPort(f, from, target.Cluster.IPv6)()).To(Equal(network.Open), "eth0 is not restricted, from "+from.Name)
	}
	f.RemovePolicy()
	f.Eventually(tryOtherPort(f, outsider, target.Dedicated.IPv4), field.Patience, field.Tick).Should(Equal(network.Open))
}

// routeThroughOtherNetwork makes the worker send to the target's dedicated address through
// the cluster network.
func routeThroughOtherNetwork(f *field.Field, target *network.Machine) *network.Machine {
	f.T.Helper()
	worker := f.Cluster.Machine("worker-1")
	for to, via := range map[netip.Addr]netip.Addr{target.Dedicated.IPv4: target.Cluster.IPv4, target.Dedicated.IPv6: target.Cluster.IPv6} {
		_, err := worker.Output(f.T.Context(), "ip", "route", "replace", to.String(), "via", via.String())
		f.Expect(err).NotTo(HaveOccurred())
	}
	return worker
}

func tryOtherPort(f *field.Field, from *network.Machine, to netip.Addr) func() network.Verdict {
	return func() network.Verdict {
		verdict, err := from.Dial(network.TCP, netip.AddrPortFrom(to, field.OtherPort))
		f.Expect(err).NotTo(HaveOccurred())
		return verdict
	}
}

// Rules that no longer need an endpoint for an interface are still tried on the interface.
// After a rollback, the former rules return to the interface.
func TestRulesThatLeaveAnInterfaceAreProbedOnIt(t *testing.T) {
	f := field.StartCluster(t, calico.IPTables)
	target, peer, outsider := f.Cluster.Machine("cp-1"), f.Cluster.Machine("cp-2"), f.Cluster.Machine(calico.Outsider)
	metrics := func(iface string, allowed *network.Machine) func(*v1alpha1.ControlPlaneNetworkPolicySpec) {
		return func(s *v1alpha1.ControlPlaneNetworkPolicySpec) {
			s.Network.Peers = []v1alpha1.Peer{{Name: "allowed", CIDRs: []v1alpha1.CIDR{
				v1alpha1.CIDR(netip.PrefixFrom(allowed.Dedicated.IPv4, 32).String()),
			}}}
			s.Network.Components = []v1alpha1.Component{{
				Name: "metrics", Interface: iface, Ports: []v1alpha1.Port{{Protocol: "TCP", Port: field.OtherPort}},
				AllowFrom: []v1alpha1.PeerReference{{Peer: "allowed"}},
			}}
		}
	}
	becomes := func(from *network.Machine, want network.Verdict) {
		f.T.Helper()
		f.Eventually(tryOtherPort(f, from, target.Dedicated.IPv4), field.Patience, field.Tick).Should(Equal(want), field.DescribeEnactments)
	}
	onEth1 := "HostEndpoint/" + render.EndpointName("cp-1", "eth1")
	f.StartOperator()
	f.CreatePolicy(f.NewPolicy(metrics("eth1", peer)))
	f.WaitForPhases("Enforced/Unproven", "Enforced/Unproven", "Enforced/Unproven")
	becomes(outsider, network.Dropped)
	becomes(peer, network.Open)

	f.UpdatePolicy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) {
		metrics("", outsider)(s)
		field.SoakFor(600)(s)
	})
	f.WaitForPhases("Progressing/Soaking", "Pending/Queued", "Pending/Queued")
	becomes(outsider, network.Open)
	becomes(peer, network.Dropped)
	f.Expect(field.ListInventory(t)).To(ContainElement(onEth1))

	t.Log("the new rules are rolled back")
	f.UpdatePolicy(metrics("eth1", peer))
	becomes(outsider, network.Dropped)
	becomes(peer, network.Open)
	f.Eventually(func() []string { return field.ListInventory(t) }, field.Patience, field.Tick).Should(And(
		ContainElement(onEth1), Not(ContainElement("HostEndpoint/"+render.EndpointName("cp-1", "")))))
	for _, from := range []*network.Machine{peer, outsider} {
		f.Expect(tryOtherPort(f, from, target.Cluster.IPv4)()).To(Equal(network.Open), "eth0 is not restricted, from "+from.Name)
	}

	t.Log("the new rules stay: unused objects are deleted")
	f.UpdatePolicy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) {
		metrics("", outsider)(s)
		field.SoakFor(0)(s)
	})
	f.WaitForCondition(v1alpha1.ConditionReady, "True/AsDeclared")
	f.Expect(field.ListInventory(t)).NotTo(ContainElement(onEth1))
	f.Expect(tryOtherPort(f, outsider, target.Dedicated.IPv4)()).To(Equal(network.Open))
	f.Expect(tryOtherPort(f, peer, target.Dedicated.IPv4)()).To(Equal(network.Dropped))
}
