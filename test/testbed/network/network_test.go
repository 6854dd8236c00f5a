// SPDX-License-Identifier: Apache-2.0

package network_test

import (
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/test/testbed/network"
)

var nft = network.Program{Package: "nftables", Command: []string{"nft", "list", "tables"}}

func TestMain(m *testing.M) {
	if os.Getenv(helperVariable) != "" {
		os.Exit(runHelper())
	}
	os.Exit(m.Run())
}

func newNetwork(t *testing.T, names ...string) *network.Network {
	t.Helper()
	network.Need(t, network.Available(t.Context(), nft))
	start := time.Now()
	n, err := network.New(t.Context(), names...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	t.Logf("network of %d machines in %s", len(names), time.Since(start).Round(time.Millisecond))
	return n
}

// TestVerdicts distinguishes the three verdicts, for each protocol and family.
func TestVerdicts(t *testing.T) {
	n := newNetwork(t, "a", "b")
	a, b := n.Machine("a"), n.Machine("b")
	listenOn(t, b, network.TCP, 80)
	listenOn(t, b, network.UDP, 80)
	dropPackets(t, b, "meta l4proto { tcp, udp } th dport 82")

	for name, to := range map[string]network.Addresses{"eth0": b.Cluster, "eth1": b.Dedicated} {
		for _, address := range []netip.Addr{to.IPv4, to.IPv6} {
			for _, protocol := range []network.Protocol{network.TCP, network.UDP} {
				for port, want := range map[uint16]network.Verdict{80: network.Open, 81: network.Refused, 82: network.Dropped} {
					t.Run(fmt.Sprintf("%s %s %s %d", name, address, protocol, port), func(t *testing.T) {
						t.Parallel()
						g := NewWithT(t)
						g.Expect(a.Dial(protocol, netip.AddrPortFrom(address, port))).To(Equal(want))
					})
				}
			}
		}
	}
}

func TestPing(t *testing.T) {
	g, n := NewWithT(t), newNetwork(t, "a", "b")
	a, b := n.Machine("a"), n.Machine("b")
	for _, address := range []netip.Addr{b.Cluster.IPv4, b.Cluster.IPv6} {
		g.Expect(a.Dial(network.ICMP, netip.AddrPortFrom(address, 0))).To(Equal(network.Open))
	}
	dropPackets(t, b, "meta l4proto { icmp, icmpv6 } meta length < 70") // spares neighbor discovery
	for _, address := range []netip.Addr{b.Cluster.IPv4, b.Cluster.IPv6} {
		g.Expect(a.Dial(network.ICMP, netip.AddrPortFrom(address, 0))).To(Equal(network.Dropped))
	}
}

// A policy is about the source address, and a machine has several addresses.
func TestSourceAddress(t *testing.T) {
	g, n := NewWithT(t), newNetwork(t, "a", "b")
	a, b := n.Machine("a"), n.Machine("b")
	g.Expect(a.Output(t.Context(), "ip", "address", "add", "10.77.0.200/24", "dev", "eth0")).To(BeEmpty())
	listenOn(t, b, network.TCP, 80)
	dropPackets(t, b, "ip saddr 10.77.0.200")

	to := netip.AddrPortFrom(b.Cluster.IPv4, 80)
	g.Expect(a.Dial(network.TCP, to)).To(Equal(network.Open))
	g.Expect(a.Dial(network.TCP, to, network.From(netip.MustParseAddr("10.77.0.200")))).To(Equal(network.Dropped))
	_, err := a.Dial(network.TCP, to, network.From(netip.MustParseAddr("10.77.0.201")))
	g.Expect(err).To(MatchError(ContainSubstring("bind to 10.77.0.201")))
}

// Packets that a machine's own policy drops on the way out are dropped too.
func TestEgress(t *testing.T) {
	g, n := NewWithT(t), newNetwork(t, "a", "b")
	a, b := n.Machine("a"), n.Machine("b")
	addRules(t, a, "chain out { type filter hook output priority 0; th dport 80 drop; }")
	for _, protocol := range []network.Protocol{network.TCP, network.UDP} {
		g.Expect(a.Dial(protocol, netip.AddrPortFrom(b.Cluster.IPv4, 80))).To(Equal(network.Dropped))
	}
}

// An established connection outlives a new rule for new connections; Close ends the
// connection.
func TestEstablished(t *testing.T) {
	g, n := NewWithT(t), newNetwork(t, "a", "b")
	a, b := n.Machine("a"), n.Machine("b")
	listener, err := b.ListenOn(network.TCP, b.Cluster.IPv4.String(), 80)
	g.Expect(err).NotTo(HaveOccurred())
	to := netip.AddrPortFrom(b.Cluster.IPv4, 80)
	addRules(t, b, "chain in { type filter hook input priority 0; ct state established accept; }")
	conn, err := a.DialContext(t.Context(), "tcp", to.String())
	g.Expect(err).NotTo(HaveOccurred())
	defer conn.Close()
	addRules(t, b, "chain in { tcp dport 80 drop; }") // adds to the chain

	g.Expect(conn.SetDeadline(time.Now().Add(10 * time.Second))).To(Succeed())
	g.Expect(conn.Write([]byte("still there"))).To(BeNumerically(">", 0))
	answer := make([]byte, 100)
	g.Expect(conn.Read(answer)).To(BeNumerically(">", 0))
	g.Expect(a.Dial(network.TCP, to)).To(Equal(network.Dropped))

	g.Expect(listener.Close()).To(Succeed())
	_, err = conn.Read(answer)
	g.Expect(err).To(HaveOccurred())
}

// A network is isolated from another network with the same addresses, and from this
// machine's own network.
func TestNetworksAreIsolated(t *testing.T) {
	g, one, other := NewWithT(t), newNetwork(t, "a"), newNetwork(t, "a", "b")
	listenOn(t, other.Machine("a"), network.TCP, 80)
	to := netip.AddrPortFrom(one.Machine("a").Cluster.IPv4, 80)
	g.Expect(one.Machine("a").Dial(network.TCP, to)).To(Equal(network.Refused))
	g.Expect(other.Machine("b").Dial(network.TCP, to)).To(Equal(network.Open))
	_, err := one.Machine("a").Dial(network.TCP, netip.MustParseAddrPort("192.0.2.1:80"))
	g.Expect(err).To(MatchError(ContainSubstring("network is unreachable")))
	g.Expect(one.Machine("a").Output(t.Context(), "ls", "/run")).To(Equal("lock\n"))
	for _, folder := range []string{"/cpnp-must-not-be", "/var/lib/cpnp-must-not-be"} {
		_, err = one.Machine("a").Output(t.Context(), "mkdir", folder)
		g.Expect(err).To(MatchError(ContainSubstring("Read-only file system")))
	}
}

func listenOn(t *testing.T, m *network.Machine, protocol network.Protocol, port uint16) {
	t.Helper()
	if _, err := m.Listen(protocol, port); err != nil {
		t.Fatal(err)
	}
}

func dropPackets(t *testing.T, m *network.Machine, match string) {
	t.Helper()
	addRules(t, m, "chain in { type filter hook input priority 0; "+match+" drop; }")
}

func addRules(t *testing.T, m *network.Machine, chain string) {
	t.Helper()
	if _, err := m.Input(t.Context(), "table inet test {\n"+chain+"\n}\n", "nft", "-f", "-"); err != nil {
		t.Fatal(err)
	}
}
