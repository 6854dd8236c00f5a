// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/network"
)

// Every component is reached by those whom it is for and by nobody else, and what
// is no component's by everybody, as before.
func TestEveryComponentIsReachedByItsPeersOnly(t *testing.T) {
	const schedulerPort, controllerManagerPort = 10259, 10257
	f := enter(t, calico.IPTables)
	f.givePods()
	f.giveOthers()
	f.operator()
	server := f.apiServerPort()
	for _, port := range []uint16{server, schedulerPort, controllerManagerPort} {
		f.answer(network.TCP, port)
	}
	of := func(role profile.Role) sender { return f.senders(role)[0] }
	everybody := map[string]sender{
		"member": of(profile.RoleControlPlane), "worker": f.senders(profile.RoleNodes)[1], "pod": of(profile.RolePods), "itself": of(profile.RoleSelf),
		"admin": of(profile.RoleAdmin), "stranger": {f.cluster.Machine(calico.Outsider), stranger},
	}
	ports := []uint16{server, etcdPort, peersPort, kubeletPort, schedulerPort, controllerManagerPort, otherPort}
	f.Expect(f.reachedBy(everybody, ports)).To(HaveEach(HaveLen(len(everybody))), "before the policy")

	f.create(f.policy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) {
		members := s.Network.Components[0].AllowFrom
		s.Network.Failsafe, s.Network.Peers = v1alpha1.FailsafeScope, []v1alpha1.Peer{f.admins()}
		s.Network.Components = append(s.Network.Components,
			v1alpha1.Component{Name: "apiServer", AllowFrom: []v1alpha1.PeerReference{{Peer: "admins"}}},
			v1alpha1.Component{Name: "scheduler", AllowFrom: members},
			v1alpha1.Component{Name: "controllerManager", AllowFrom: members},
		)
	}))
	f.reports(v1alpha1.ConditionReady, "True/AsDeclared")
	members := []string{"itself", "member"}
	f.Expect(f.reachedBy(everybody, ports)).To(Equal(map[uint16][]string{
		server:   {"admin", "itself", "member", "pod", "worker"},
		etcdPort: members, peersPort: members, kubeletPort: members, schedulerPort: members, controllerManagerPort: members,
		otherPort: {"admin", "itself", "member", "pod", "stranger", "worker"},
	}))
}

// reachedBy returns who reaches which port of cp-1, by IPv4 and by IPv6; whose
// packets are dropped in one of them only is told as such. All try at once.
func (f *field) reachedBy(senders map[string]sender, ports []uint16) map[uint16][]string {
	f.t.Helper()
	var (
		trying  sync.WaitGroup
		mu      sync.Mutex
		errs    []error
		reached = map[uint16][]string{}
	)
	to := f.cluster.Machine("cp-1").Cluster
	for name, s := range senders {
		for _, port := range ports {
			trying.Go(func() {
				ipv4, err4 := s.machine.Dial(network.TCP, netip.AddrPortFrom(to.IPv4, port), network.From(s.from.IPv4))
				ipv6, err6 := s.machine.Dial(network.TCP, netip.AddrPortFrom(to.IPv6, port), network.From(s.from.IPv6))
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
