// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"net/netip"
	"testing"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	render "github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
	"github.com/cpnp-dev/cpnp-operator/test/field"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
)

// hosts returns the intent: etcd and the kubelet for the control plane alone.
func hosts(f *field.Field) backend.Hosts {
	members := map[string][]netip.Prefix{}
	hosts := backend.Hosts{Policy: "packets"}
	for _, name := range []string{"cp-1", "cp-2"} {
		a := f.Cluster.Machine(name).Cluster
		members[name] = []netip.Prefix{netip.PrefixFrom(a.IPv4, 32), netip.PrefixFrom(a.IPv6, 128)}
		hosts.Nodes = append(hosts.Nodes, backend.Node{Name: name, Addresses: []netip.Addr{a.IPv4, a.IPv6}})
	}
	hosts.Sets = []backend.Set{{Name: "control-plane", Members: members}}
	for name, port := range map[string]uint16{"etcd": field.EtcdPort, "kubelet": field.KubeletPort} {
		hosts.Components = append(hosts.Components, backend.Component{
			Name:  name,
			Ports: []profile.Traffic{{Protocol: profile.TCP, First: port, Last: port}},
			From:  []backend.Source{{Set: "control-plane"}},
		})
	}
	return hosts
}

// The restriction of a port that is no failsafe holds at once; that of etcd is
// void until Felix's failsafe ports are narrowed; and what is no component's
// stays as it was. In both ways in which Felix writes its rules.
func TestComponentsAreReachedByTheirPeersOnly(t *testing.T) {
	for _, backend := range []calico.Backend{calico.IPTables, calico.NFTables} {
		t.Run(string(backend), func(t *testing.T) {
			f := field.StartCluster(t, backend)
			for _, port := range []uint16{field.EtcdPort, field.KubeletPort, field.OtherPort} {
				f.Expect(f.ReachabilityOf(port)).To(Equal(field.OnlyFrom(field.AllClients...)), "before the policy, port %d", port)
			}
			hosts := hosts(f)
			write(t, render.WithRulesets(hosts))
			f.WaitForReachability(field.KubeletPort, field.OnlyFrom("cp-2", "itself", "loopback"))
			f.Expect(f.ReachabilityOf(field.EtcdPort)).To(Equal(field.OnlyFrom(field.AllClients...)), "a failsafe port, whatever the policy says")
			f.Expect(f.ReachabilityOf(field.OtherPort)).To(Equal(field.OnlyFrom(field.AllClients...)), "no component's port")

			hosts.ScopeFailsafes = true
			write(t, render.WithRulesets(hosts))
			f.WaitForReachability(field.EtcdPort, field.OnlyFrom("cp-2", "itself", "loopback"))
			f.Expect(f.ReachabilityOf(field.OtherPort)).To(Equal(field.OnlyFrom(field.AllClients...)))
		})
	}
}

// A node that is not enforced is not restricted, and one that is taken back is
// open again.
func TestOneLabelEnforcesAndTakesBack(t *testing.T) {
	f := field.StartCluster(t, calico.IPTables)
	hosts := hosts(f)
	waiting := render.WithRulesets(hosts)
	waiting.Nodes[0].Ruleset = rollout.Ruleset{}
	write(t, waiting)
	f.Expect(f.ReachabilityOf(field.KubeletPort)).To(Equal(field.OnlyFrom(field.AllClients...)))
	write(t, render.WithRulesets(hosts))
	f.WaitForReachability(field.KubeletPort, field.OnlyFrom("cp-2", "itself", "loopback"))
	f.Expect(field.Admin.Patch(t.Context(), named(&v3.HostEndpoint{}, "cpnp-cp-1"),
		client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"cpnp.dev/enforced":null}}}`)))).To(Succeed())
	f.WaitForReachability(field.KubeletPort, field.OnlyFrom(field.AllClients...))
}

// Everything that is neither a component's nor required nor listed is dropped,
// failsafe ports apart.
func TestWhatIsNotListedIsDropped(t *testing.T) {
	f := field.StartCluster(t, calico.IPTables)
	hosts := hosts(f)
	hosts.DenyUnlisted = true
	hosts.Listed = []backend.Flow{
		// Without neighbour discovery there is no IPv6 at all.
		{Name: "neighbours", From: []backend.Source{{}}, Traffic: []profile.Traffic{
			{Protocol: profile.ICMPv6, Number: 135}, {Protocol: profile.ICMPv6, Number: 136},
		}},
		{Name: "other", From: []backend.Source{{Prefixes: hosts.Sets[0].Members["cp-2"]}}, Traffic: []profile.Traffic{
			{Protocol: profile.TCP, First: field.OtherPort, Last: field.OtherPort},
		}},
	}
	write(t, render.WithRulesets(hosts))
	f.WaitForReachability(field.KubeletPort, field.OnlyFrom("cp-2", "itself", "loopback"))
	f.WaitForReachability(field.OtherPort, field.OnlyFrom("cp-2", "itself", "loopback"))
}
