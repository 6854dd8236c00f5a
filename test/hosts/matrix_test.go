// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"slices"
	"testing"

	"github.com/cpnp-dev/cpnp-operator/test/field"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/network"
)

// Unlisted traffic is dropped, and each flow of the profile to a node still works: every
// flow is tried with packets from each of its senders, before and after.
func TestEveryFlowOfTheProfileWorksWhereUnlistedTrafficIsDenied(t *testing.T) {
	f := field.StartCluster(t, calico.NFTables)
	f.GivePods()
	f.GiveOthers()
	f.StartQuickOperator()
	matrix, err := profile.Resolve("kubeadm", "calico", profile.Overrides{APIServerPorts: []uint16{f.APIServerPort()}})
	f.Expect(err).NotTo(HaveOccurred())
	tried := listenForProfile(f, matrix)
	f.Expect(len(tried)).To(BeNumerically(">", 20))
	for _, from := range []network.Addresses{field.Pods, field.Balancer, field.Prometheus} {
		f.Expect(slices.ContainsFunc(tried, func(a attempt) bool { return a.sender.From == from })).To(BeTrue(), from.IPv4.String())
	}
	for _, protocol := range []network.Protocol{network.TCP, network.UDP, network.ICMP} {
		f.Expect(slices.ContainsFunc(tried, func(a attempt) bool { return a.protocol == protocol })).To(BeTrue(), string(protocol))
	}
	for _, flow := range tried {
		f.Expect(f.VerdictsOf(flow.sender, flow.protocol, flow.port)).To(Equal(field.Open), "before the policy: %s", flow)
	}

	everywhere := []v1alpha1.PeerReference{{Role: v1alpha1.RoleNodes}, {Role: v1alpha1.RolePods}}
	f.CreatePolicy(f.NewPolicy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) {
		s.Network.Peers = []v1alpha1.Peer{
			f.AdminPeer(), field.NewPeer("balancer", v1alpha1.ExternalLoadBalancer, field.Balancer), field.NewPeer("prometheus", v1alpha1.ExternalPrometheus, field.Prometheus),
		}
		s.Network.Unlisted, s.Network.Failsafe = v1alpha1.UnlistedDeny, v1alpha1.FailsafeScope
		controlPlane := s.Network.Components[0].AllowFrom
		s.Network.Components = append(s.Network.Components,
			v1alpha1.Component{Name: "apiServer", AllowFrom: everywhere},
			v1alpha1.Component{Name: "scheduler", AllowFrom: controlPlane},
			v1alpha1.Component{Name: "controllerManager", AllowFrom: controlPlane},
		)
	}))
	f.WaitForCondition(v1alpha1.ConditionProgrammed, "True/AsDeclared")
	f.WaitForReachability(field.OtherPort, field.OnlyFrom("itself", "loopback"))
	f.WaitForReachability(field.EtcdPort, field.OnlyFrom("cp-2", "itself", "loopback"))
	for _, flow := range tried {
		f.Expect(f.VerdictsOf(flow.sender, flow.protocol, flow.port)).To(Equal(field.Open), "%s", flow)
	}
	outsider := f.SendersOf(profile.RoleAdmin)[0]
	worker := f.SendersOf(profile.RoleNodes)[1]
	f.Expect(f.VerdictsOf(outsider, network.TCP, f.APIServerPort())).To(Equal(field.Open), "an administrator can still reach the API server")
	for _, port := range []uint16{field.EtcdPort, field.PeersPort, field.KubeletPort, 10257, 10259, field.OtherPort} {
		f.Expect(f.VerdictsOf(outsider, network.TCP, port)).To(Equal(field.Dropped), "from outside, port %d", port)
	}
	for _, port := range []uint16{field.EtcdPort, field.PeersPort, 10257, 10259, field.OtherPort} {
		f.Expect(f.VerdictsOf(worker, network.TCP, port)).To(Equal(field.Dropped), "from a worker, port %d", port)
	}

	f.RemovePolicy()
	f.WaitForReachability(field.OtherPort, field.OnlyFrom(field.AllClients...))
}

// attempt is one flow of the profile from one of its senders.
type attempt struct {
	flow     string
	sender   field.Sender
	protocol network.Protocol
	port     uint16
}

func (a attempt) String() string {
	return a.flow + " from " + a.sender.From.IPv4.String()
}

// listenForProfile listens on cp-1 for all flows of the profile to this node, and returns
// the flows to try.
func listenForProfile(f *field.Field, matrix profile.Profile) []attempt {
	f.T.Helper()
	listening := map[network.Protocol][]uint16{network.TCP: {field.EtcdPort, field.PeersPort, field.APIServerPort, field.KubeletPort, field.OtherPort}}
	var attempts []attempt
	for _, flow := range matrix.Flows {
		component, _ := matrix.FindComponent(flow.Component)
		if !flow.ArrivesAtNode() || len(flow.Destinations) > 0 || component.Translated {
			continue // no machine answers at the address of a group, and a node port is no port of the node itself
		}
		for _, traffic := range flow.Traffic {
			protocol, port := network.TCP, traffic.First
			switch traffic.Protocol {
			case profile.TCP:
			case profile.UDP:
				protocol = network.UDP
			case profile.ICMP, profile.ICMPv6:
				if !isEchoRequest(traffic) {
					continue // the kernel answers no other message
				}
				protocol, port = network.ICMP, 0
			default:
				continue
			}
			if protocol != network.ICMP && !slices.Contains(listening[protocol], port) {
				listening[protocol] = append(listening[protocol], port)
				f.AnswerAt(protocol, port)
			}
			for _, role := range flow.From {
				for _, s := range f.SendersOf(role) {
					attempts = append(attempts, attempt{flow.Name + " " + traffic.String(), s, protocol, port})
				}
			}
		}
	}
	return attempts
}

func isEchoRequest(t profile.Traffic) bool {
	return t.Protocol == profile.ICMP && t.Number == 8 || t.Protocol == profile.ICMPv6 && t.Number == 128
}
