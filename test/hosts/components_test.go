// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"github.com/cpnp-dev/cpnp-operator/test/field"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/network"
)

// Every component is reached by its declared peers only. Ports of no component are reached
// by all senders, as before.
func TestOnlyItsPeersReachEachComponent(t *testing.T) {
	const schedulerPort, controllerManagerPort = 10259, 10257
	f := field.StartCluster(t, calico.IPTables)
	f.GivePods()
	f.GiveOthers()
	f.StartQuickOperator()
	server := f.APIServerPort()
	for _, port := range []uint16{server, schedulerPort, controllerManagerPort} {
		f.AnswerAt(network.TCP, port)
	}
	of := func(role profile.Role) field.Sender { return f.SendersOf(role)[0] }
	everybody := map[string]field.Sender{
		"member": of(profile.RoleControlPlane), "worker": f.SendersOf(profile.RoleNodes)[1], "pod": of(profile.RolePods), "itself": of(profile.RoleSelf),
		"admin": of(profile.RoleAdmin), "stranger": {Machine: f.Cluster.Machine(calico.Outsider), From: field.Stranger},
	}
	ports := []uint16{server, field.EtcdPort, field.PeersPort, field.KubeletPort, schedulerPort, controllerManagerPort, field.OtherPort}
	f.Expect(reachedBy(f, everybody, ports)).To(HaveEach(HaveLen(len(everybody))), "before the policy")

	f.CreatePolicy(f.NewPolicy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) {
		members := s.Network.Components[0].AllowFrom
		s.Network.Failsafe, s.Network.Peers = v1alpha1.FailsafeScope, []v1alpha1.Peer{f.AdminPeer()}
		s.Network.Components = append(s.Network.Components,
			v1alpha1.Component{Name: "apiServer", AllowFrom: []v1alpha1.PeerReference{{Peer: "admins"}}},
			v1alpha1.Component{Name: "scheduler", AllowFrom: members},
			v1alpha1.Component{Name: "controllerManager", AllowFrom: members},
		)
	}))
	f.WaitForCondition(v1alpha1.ConditionReady, "True/AsDeclared")
	members := []string{"itself", "member"}
	f.Eventually(func() map[uint16][]string { return reachedBy(f, everybody, ports) }, field.Patience, field.Tick).Should(Equal(map[uint16][]string{
		server:         {"admin", "itself", "member", "pod", "worker"},
		field.EtcdPort: members, field.PeersPort: members, field.KubeletPort: members, schedulerPort: members, controllerManagerPort: members,
		field.OtherPort: {"admin", "itself", "member", "pod", "stranger", "worker"},
	}))
}

// reachedBy returns the senders with access to each port of cp-1, by IPv4 and by IPv6. A
// sender with dropped packets in only one IP version is marked. All senders try at once.
func reachedBy(f *field.Field, senders map[string]field.Sender, ports []uint16) map[uint16][]string {
	f.T.Helper()
	var (
		trying  sync.WaitGroup
		mu      sync.Mutex
		errs    []error
		reached = map[uint16][]string{}
	)
	to := f.Cluster.Machine("cp-1").Cluster
	for name, s := range senders {
		for _, port := range ports {
			trying.Go(func() {
				ipv4, err4 := s.Machine.Dial(network.TCP, netip.AddrPortFrom(to.IPv4, port), network.From(s.From.IPv4))
				ipv6, err6 := s.Machine.Dial(network.TCP, netip.AddrPortFrom(to.IPv6, port), network.From(s.From.IPv6))
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err4, err6)
				switch {
				case ipv4 != ipv6:
					reached[port] = append(reached[port], name+" "+string(ipv4)+"/"+string(ipv6))
				case ipv4 == network.Open:
					reached[port] = append(reached[port], name)
				}
			})
		}
	}
	trying.Wait()
	f.Expect(errors.Join(errs...)).NotTo(HaveOccurred())
	for _, names := range reached {
		slices.Sort(names)
	}
	return reached
}
