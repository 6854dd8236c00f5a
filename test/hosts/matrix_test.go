// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/network"
)

// pods is the addresses that the worker has for its pods.
var pods = network.Addresses{IPv4: netip.MustParseAddr("10.200.0.5"), IPv6: netip.MustParseAddr("fd00:200::5")}

// givePods gives the worker addresses of pods, which all others find there, and
// Calico the pools that they are from.
func (f *field) givePods() {
	f.t.Helper()
	worker := f.cluster.Machine("worker-1")
	for _, command := range [][]string{
		{"ip", "address", "add", pods.IPv4.String() + "/32", "dev", "eth0"},
		{"ip", "address", "add", pods.IPv6.String() + "/128", "dev", "eth0", "nodad"},
	} {
		_, err := worker.Output(f.t.Context(), command[0], command[1:]...)
		f.Expect(err).NotTo(HaveOccurred())
	}
	for _, command := range [][]string{
		{"ip", "route", "add", pods.IPv4.String(), "via", worker.Cluster.IPv4.String()},
		{"ip", "route", "add", pods.IPv6.String(), "via", worker.Cluster.IPv6.String()},
	} {
		_, err := f.cluster.Machine("cp-1").Output(f.t.Context(), command[0], command[1:]...)
		f.Expect(err).NotTo(HaveOccurred())
	}
	for name, cidr := range map[string]string{"pods-v4": "10.200.0.0/16", "pods-v6": "fd00:200::/64"} {
		pool := &v3.IPPool{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v3.IPPoolSpec{CIDR: cidr}}
		f.Expect(admin.Create(f.t.Context(), pool)).To(Succeed())
		f.t.Cleanup(func() { deleteNow(f, pool) })
	}
}

// Who else is outside, by the addresses that the outsider's machine has for them.
var (
	balancer   = network.Addresses{IPv4: netip.MustParseAddr("10.77.0.91"), IPv6: netip.MustParseAddr("fd77::91")}
	prometheus = network.Addresses{IPv4: netip.MustParseAddr("10.77.0.92"), IPv6: netip.MustParseAddr("fd77::92")}
	stranger   = network.Addresses{IPv4: netip.MustParseAddr("10.77.0.93"), IPv6: netip.MustParseAddr("fd77::93")}
)

// giveOthers gives the outsider's machine the addresses of all others.
func (f *field) giveOthers() {
	f.t.Helper()
	var commands strings.Builder
	for _, a := range []network.Addresses{balancer, prometheus, stranger} {
		fmt.Fprintf(&commands, "address add %s/24 dev eth0\naddress add %s/64 dev eth0 nodad\n", a.IPv4, a.IPv6)
	}
	_, err := f.cluster.Machine(calico.Outsider).Input(f.t.Context(), commands.String(), "ip", "-batch", "-")
	f.Expect(err).NotTo(HaveOccurred())
}

func deleteNow(f *field, object client.Object) {
	f.t.Helper()
	f.Expect(client.IgnoreNotFound(admin.Delete(context.Background(), object))).To(Succeed()) // also when the test has ended
}

// admins is the outsider, in the role of whoever administers the cluster.
func (f *field) admins() v1alpha1.Peer {
	return peer("admins", v1alpha1.ExternalAdmin, f.cluster.Machine(calico.Outsider).Cluster)
}

func peer(name string, role v1alpha1.ExternalRole, a network.Addresses) v1alpha1.Peer {
	return v1alpha1.Peer{Name: name, Role: role, CIDRs: []v1alpha1.CIDR{
		v1alpha1.CIDR(netip.PrefixFrom(a.IPv4, 32).String()), v1alpha1.CIDR(netip.PrefixFrom(a.IPv6, 128).String()),
	}}
}

// apiServerPort is that of the test bed's API server, which every node of the
// control plane is taken to have.
func (f *field) apiServerPort() uint16 {
	f.t.Helper()
	var list discoveryv1.EndpointSliceList
	f.Expect(admin.List(f.t.Context(), &list, client.InNamespace("default"), client.MatchingLabels{discoveryv1.LabelServiceName: "kubernetes"})).To(Succeed())
	f.Expect(list.Items).NotTo(BeEmpty())
	return uint16(*list.Items[0].Ports[0].Port)
}

// senders are whoever plays the role towards cp-1, by the address that packets
// come from.
func (f *field) senders(role profile.Role) []sender {
	of := func(machine string) sender {
		return sender{f.cluster.Machine(machine), f.cluster.Machine(machine).Cluster}
	}
	switch role {
	case profile.RoleControlPlane:
		return []sender{of("cp-2")}
	case profile.RoleNodes:
		return []sender{of("cp-2"), of("worker-1")}
	case profile.RolePods:
		return []sender{{f.cluster.Machine("worker-1"), pods}}
	case profile.RoleSelf:
		return []sender{of("cp-1")}
	case profile.RoleAdmin, profile.RoleAny:
		return []sender{of(calico.Outsider)}
	case profile.RoleLoadBalancer:
		return []sender{{f.cluster.Machine(calico.Outsider), balancer}}
	case profile.RolePrometheus:
		return []sender{{f.cluster.Machine(calico.Outsider), prometheus}}
	}
	return nil
}

type sender struct {
	machine *network.Machine
	from    network.Addresses
}

// almostARetry is longer than any answer takes, and shorter than it takes until
// a lost packet is sent again: a connection that needs longer was cut.
const almostARetry = 900 * time.Millisecond

// sends is what becomes of the traffic to cp-1, by IPv4 and IPv6.
func (f *field) sends(s sender, protocol network.Protocol, port uint16) [2]network.Verdict {
	f.t.Helper()
	to := f.cluster.Machine("cp-1").Cluster
	var verdicts [2]network.Verdict
	for i, pair := range [][2]netip.Addr{{s.from.IPv4, to.IPv4}, {s.from.IPv6, to.IPv6}} {
		verdict, err := s.machine.Dial(protocol, netip.AddrPortFrom(pair[1], port), network.From(pair[0]), network.Within(almostARetry))
		f.Expect(err).NotTo(HaveOccurred())
		verdicts[i] = verdict
	}
	return verdicts
}

var (
	open    = [2]network.Verdict{network.Open, network.Open}
	dropped = [2]network.Verdict{network.Dropped, network.Dropped}
)

// Everything that is not listed is dropped, and each flow of the profile that
// comes in at a node still works: every one is tried with packets, from all
// whom it is for, before and after.
func TestEveryFlowOfTheProfileWorksWhereNothingElseDoes(t *testing.T) {
	f := enter(t, calico.NFTables)
	f.givePods()
	f.giveOthers()
	f.operator()
	matrix, err := profile.Resolve("kubeadm", "calico", profile.Overrides{APIServerPorts: []uint16{f.apiServerPort()}})
	f.Expect(err).NotTo(HaveOccurred())
	tried := f.listen(matrix)
	f.Expect(len(tried)).To(BeNumerically(">", 20))
	for _, from := range []network.Addresses{pods, balancer, prometheus} {
		f.Expect(slices.ContainsFunc(tried, func(a attempt) bool { return a.sender.from == from })).To(BeTrue(), from.IPv4.String())
	}
	for _, protocol := range []network.Protocol{network.TCP, network.UDP, network.ICMP} {
		f.Expect(slices.ContainsFunc(tried, func(a attempt) bool { return a.protocol == protocol })).To(BeTrue(), string(protocol))
	}
	for _, flow := range tried {
		f.Expect(f.sends(flow.sender, flow.protocol, flow.port)).To(Equal(open), "before the policy: %s", flow)
	}

	everywhere := []v1alpha1.PeerReference{{Role: v1alpha1.RoleNodes}, {Role: v1alpha1.RolePods}}
	f.create(f.policy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) {
		s.Network.Peers = []v1alpha1.Peer{
			f.admins(), peer("balancer", v1alpha1.ExternalLoadBalancer, balancer), peer("prometheus", v1alpha1.ExternalPrometheus, prometheus),
		}
		s.Network.Unlisted, s.Network.Failsafe = v1alpha1.UnlistedDeny, v1alpha1.FailsafeScope
		controlPlane := s.Network.Components[0].AllowFrom
		s.Network.Components = append(s.Network.Components,
			v1alpha1.Component{Name: "apiServer", AllowFrom: everywhere},
			v1alpha1.Component{Name: "scheduler", AllowFrom: controlPlane},
			v1alpha1.Component{Name: "controllerManager", AllowFrom: controlPlane},
		)
	}))
	f.reports(v1alpha1.ConditionProgrammed, "True/Programmed")
	f.becomes(otherPort, only("itself", "loopback"))
	f.becomes(etcdPort, only("cp-2", "itself", "loopback"))
	for _, flow := range tried {
		f.Expect(f.sends(flow.sender, flow.protocol, flow.port)).To(Equal(open), "%s", flow)
	}
	outsider := f.senders(profile.RoleAdmin)[0]
	worker := f.senders(profile.RoleNodes)[1]
	f.Expect(f.sends(outsider, network.TCP, f.apiServerPort())).To(Equal(open), "the way back in")
	for _, port := range []uint16{etcdPort, peersPort, kubeletPort, 10257, 10259, otherPort} {
		f.Expect(f.sends(outsider, network.TCP, port)).To(Equal(dropped), "from outside, port %d", port)
	}
	for _, port := range []uint16{etcdPort, peersPort, 10257, 10259, otherPort} {
		f.Expect(f.sends(worker, network.TCP, port)).To(Equal(dropped), "from a worker, port %d", port)
	}

	f.remove()
	f.becomes(otherPort, only(everybody...))
}

// answer listens on cp-1's addresses in the cluster network: on loopback, Felix's
// way to the API server has the API server's port.
func (f *field) answer(protocol network.Protocol, port uint16) {
	f.t.Helper()
	machine := f.cluster.Machine("cp-1")
	for _, address := range []netip.Addr{machine.Cluster.IPv4, machine.Cluster.IPv6} {
		_, err := machine.ListenOn(protocol, address.String(), port)
		f.Expect(err).NotTo(HaveOccurred(), "port %d", port)
	}
}

// attempt is one flow of the profile from one of those whom it is for.
type attempt struct {
	flow     string
	sender   sender
	protocol network.Protocol
	port     uint16
}

func (a attempt) String() string {
	return a.flow + " from " + a.sender.from.IPv4.String()
}

// listen listens on cp-1 for all that the profile has come in there, and
// returns what there is to try.
func (f *field) listen(matrix profile.Profile) []attempt {
	f.t.Helper()
	listening := map[network.Protocol][]uint16{network.TCP: {etcdPort, peersPort, apiServerPort, kubeletPort, otherPort}}
	var attempts []attempt
	for _, flow := range matrix.Flows {
		component, _ := matrix.Component(flow.Component)
		if !flow.Arrives() || len(flow.Destinations) > 0 || component.Translated {
			continue // a group's address is nobody's to answer at, a node port is no port of the node
		}
		for _, traffic := range flow.Traffic {
			protocol, port := network.TCP, traffic.First
			switch traffic.Protocol {
			case profile.TCP:
			case profile.UDP:
				protocol = network.UDP
			case profile.ICMP, profile.ICMPv6:
				if !echoRequest(traffic) {
					continue // the kernel answers to nothing else
				}
				protocol, port = network.ICMP, 0
			default:
				continue
			}
			if protocol != network.ICMP && !slices.Contains(listening[protocol], port) {
				listening[protocol] = append(listening[protocol], port)
				f.answer(protocol, port)
			}
			for _, role := range flow.From {
				for _, s := range f.senders(role) {
					attempts = append(attempts, attempt{flow.Name + " " + traffic.String(), s, protocol, port})
				}
			}
		}
	}
	return attempts
}

func echoRequest(t profile.Traffic) bool {
	return t.Protocol == profile.ICMP && t.Number == 8 || t.Protocol == profile.ICMPv6 && t.Number == 128
}
