// SPDX-License-Identifier: Apache-2.0

package field

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/network"
)

// Pods are the addresses of pods on the worker.
var Pods = network.Addresses{IPv4: netip.MustParseAddr("10.200.0.5"), IPv6: netip.MustParseAddr("fd00:200::5")}

// GivePods adds pod addresses to the worker, routes for the pod addresses to all other
// machines, and the matching pools to Calico.
func (f *Field) GivePods() {
	f.T.Helper()
	worker := f.Cluster.Machine("worker-1")
	for _, command := range [][]string{
		{"ip", "address", "add", Pods.IPv4.String() + "/32", "dev", "eth0"},
		{"ip", "address", "add", Pods.IPv6.String() + "/128", "dev", "eth0", "nodad"},
	} {
		_, err := worker.Output(f.T.Context(), command[0], command[1:]...)
		f.Expect(err).NotTo(HaveOccurred())
	}
	for _, command := range [][]string{
		{"ip", "route", "add", Pods.IPv4.String(), "via", worker.Cluster.IPv4.String()},
		{"ip", "route", "add", Pods.IPv6.String(), "via", worker.Cluster.IPv6.String()},
	} {
		_, err := f.Cluster.Machine("cp-1").Output(f.T.Context(), command[0], command[1:]...)
		f.Expect(err).NotTo(HaveOccurred())
	}
	for name, cidr := range map[string]string{"pods-v4": "10.200.0.0/16", "pods-v6": "fd00:200::/64"} {
		pool := &v3.IPPool{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v3.IPPoolSpec{CIDR: cidr}}
		f.Expect(Admin.Create(f.T.Context(), pool)).To(Succeed())
		f.T.Cleanup(func() { DeleteNow(f, pool) })
	}
}

// Other senders outside the cluster, by the addresses of the outsider's machine.
var (
	Balancer   = network.Addresses{IPv4: netip.MustParseAddr("10.77.0.91"), IPv6: netip.MustParseAddr("fd77::91")}
	Prometheus = network.Addresses{IPv4: netip.MustParseAddr("10.77.0.92"), IPv6: netip.MustParseAddr("fd77::92")}
	Stranger   = network.Addresses{IPv4: netip.MustParseAddr("10.77.0.93"), IPv6: netip.MustParseAddr("fd77::93")}
)

// GiveOthers gives the addresses of all other senders to the outsider's machine.
func (f *Field) GiveOthers() {
	f.T.Helper()
	var commands strings.Builder
	for _, a := range []network.Addresses{Balancer, Prometheus, Stranger} {
		fmt.Fprintf(&commands, "address add %s/24 dev eth0\naddress add %s/64 dev eth0 nodad\n", a.IPv4, a.IPv6)
	}
	_, err := f.Cluster.Machine(calico.Outsider).Input(f.T.Context(), commands.String(), "ip", "-batch", "-")
	f.Expect(err).NotTo(HaveOccurred())
}

// DeleteNow deletes an object, also after the test has ended.
func DeleteNow(f *Field, object client.Object) {
	f.T.Helper()
	f.Expect(client.IgnoreNotFound(Admin.Delete(context.Background(), object))).To(Succeed()) // the test's own context may be done
}

// AdminPeer is the peer for the outsider, in the role of the cluster's administrators.
func (f *Field) AdminPeer() v1alpha1.Peer {
	return NewPeer("admins", v1alpha1.ExternalAdmin, f.Cluster.Machine(calico.Outsider).Cluster)
}

// NewPeer returns a peer with the given addresses.
func NewPeer(name string, role v1alpha1.ExternalRole, a network.Addresses) v1alpha1.Peer {
	return v1alpha1.Peer{Name: name, Role: role, CIDRs: []v1alpha1.CIDR{
		v1alpha1.CIDR(netip.PrefixFrom(a.IPv4, 32).String()), v1alpha1.CIDR(netip.PrefixFrom(a.IPv6, 128).String()),
	}}
}

// SendersOf returns the machines with a role towards cp-1, and the source addresses of the
// packets.
func (f *Field) SendersOf(role profile.Role) []Sender {
	of := func(machine string) Sender {
		return Sender{f.Cluster.Machine(machine), f.Cluster.Machine(machine).Cluster}
	}
	switch role {
	case profile.RoleControlPlane:
		return []Sender{of("cp-2")}
	case profile.RoleNodes:
		return []Sender{of("cp-2"), of("worker-1")}
	case profile.RolePods:
		return []Sender{{f.Cluster.Machine("worker-1"), Pods}}
	case profile.RoleSelf:
		return []Sender{of("cp-1")}
	case profile.RoleAdmin, profile.RoleAny:
		return []Sender{of(calico.Outsider)}
	case profile.RoleLoadBalancer:
		return []Sender{{f.Cluster.Machine(calico.Outsider), Balancer}}
	case profile.RolePrometheus:
		return []Sender{{f.Cluster.Machine(calico.Outsider), Prometheus}}
	}
	return nil
}

// Sender is a machine with the source addresses of the packets.
type Sender struct {
	Machine *network.Machine
	From    network.Addresses
}

// AlmostARetry is longer than any answer takes, and shorter than the time until a lost
// packet is sent again. A connection that takes longer was cut.
const AlmostARetry = 900 * time.Millisecond

// VerdictsOf returns the verdict on traffic from a sender to cp-1, by IPv4 and by IPv6.
func (f *Field) VerdictsOf(s Sender, protocol network.Protocol, port uint16) [2]network.Verdict {
	f.T.Helper()
	to := f.Cluster.Machine("cp-1").Cluster
	var verdicts [2]network.Verdict
	for i, pair := range [][2]netip.Addr{{s.From.IPv4, to.IPv4}, {s.From.IPv6, to.IPv6}} {
		verdict, err := s.Machine.Dial(protocol, netip.AddrPortFrom(pair[1], port), network.From(pair[0]), network.Within(AlmostARetry))
		f.Expect(err).NotTo(HaveOccurred())
		verdicts[i] = verdict
	}
	return verdicts
}

// The verdict on a flow, by IPv4 and by IPv6.
var (
	Open    = [2]network.Verdict{network.Open, network.Open}
	Dropped = [2]network.Verdict{network.Dropped, network.Dropped}
)

// AnswerAt listens on cp-1's addresses in the cluster network. Loopback is left out,
// because there Felix's own path to the API server uses the API server's port.
func (f *Field) AnswerAt(protocol network.Protocol, port uint16) {
	f.T.Helper()
	machine := f.Cluster.Machine("cp-1")
	for _, address := range []netip.Addr{machine.Cluster.IPv4, machine.Cluster.IPv6} {
		_, err := machine.ListenOn(protocol, address.String(), port)
		f.Expect(err).NotTo(HaveOccurred(), "port %d", port)
	}
}
