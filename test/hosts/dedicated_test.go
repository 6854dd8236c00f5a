// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"net/netip"
	"testing"

	. "github.com/onsi/gomega"

	render "github.com/cpnp-dev/cpnp-operator/internal/plan/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/network"
)

// On a dedicated network the policy holds on its interface, leaves the other
// interface alone, and closes the detour to its address through that.
func TestDedicatedInterfaceHoldsWithoutADetour(t *testing.T) {
	f := enter(t, calico.IPTables)
	target, peer, outsider := f.cluster.Machine("cp-1"), f.cluster.Machine("cp-2"), f.cluster.Machine(calico.Outsider)
	_, err := f.cluster.Machine("worker-1").Output(t.Context(), "ip", "route", "replace",
		target.Dedicated.IPv4.String(), "via", target.Cluster.IPv4.String())
	f.Expect(err).NotTo(HaveOccurred())
	detour := f.cluster.Machine("worker-1")

	reached := func(from *network.Machine, to netip.Addr) func() network.Verdict {
		return func() network.Verdict {
			verdict, err := from.Dial(network.TCP, netip.AddrPortFrom(to, kubeletPort))
			f.Expect(err).NotTo(HaveOccurred())
			return verdict
		}
	}
	for _, from := range []*network.Machine{peer, outsider, detour} {
		f.Expect(reached(from, target.Dedicated.IPv4)()).To(Equal(network.Open), "before the policy, from "+from.Name)
	}

	hosts := f.hosts()
	hosts.Components = []render.Component{{
		Name:      "kubelet",
		Ports:     []profile.Traffic{{Protocol: profile.TCP, First: kubeletPort, Last: kubeletPort}},
		Interface: "eth1",
		Address:   netip.MustParsePrefix("10.78.0.0/24"),
		From:      []render.Source{{Prefixes: []netip.Prefix{netip.PrefixFrom(peer.Dedicated.IPv4, 32)}}},
	}}
	write(t, hosts)
	f.Eventually(reached(outsider, target.Dedicated.IPv4), patience, tick).Should(Equal(network.Dropped))
	f.Eventually(reached(detour, target.Dedicated.IPv4), patience, tick).Should(Equal(network.Dropped))
	f.Expect(reached(peer, target.Dedicated.IPv4)()).To(Equal(network.Open))
	for _, from := range []*network.Machine{peer, outsider} {
		f.Expect(reached(from, target.Cluster.IPv4)()).To(Equal(network.Open), "eth0 is not concerned, from "+from.Name)
	}
}
