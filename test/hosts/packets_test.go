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

// hostsOf returns the host model: etcd and the kubelet for the control plane alone.
func hostsOf(f *field.Field) backend.Hosts {
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

// The restriction of a port outside of the failsafe ports holds at once. The restriction of
// etcd is void until Felix's failsafe ports are scoped. Ports of no component stay as
// before. All three hold for iptables and for nftables.
func TestComponentsAreReachedByTheirPeersOnly(t *testing.T) {
	for _, backend := range []calico.Backend{calico.IPTables, calico.NFTables} {
		t.Run(string(backend), func(t *testing.T) {
			f := field.StartCluster(t, backend)
			for _, port := range []uint16{field.EtcdPort, field.KubeletPort, field.OtherPort} {
				f.Expect(f.ReachabilityOf(port)).To(Equal(field.OnlyFrom(field.AllClients...)), "before the policy, port %d", port)
			}
			hosts := hostsOf(f)
			applyObjects(t, render.WithRulesets(hosts))
			f.WaitForReachability(field.KubeletPort, field.OnlyFrom("cp-2", "itself", "loopback"))
			f.Expect(f.ReachabilityOf(field.EtcdPort)).To(Equal(field.OnlyFrom(field.AllClients...)), "failsafe ports override the policy")
			f.Expect(f.ReachabilityOf(field.OtherPort)).To(Equal(field.OnlyFrom(field.AllClients...)), "a port of no component")

			hosts.ScopeFailsafes = true
			applyObjects(t, render.WithRulesets(hosts))
			f.WaitForReachability(field.EtcdPort, field.OnlyFrom("cp-2", "itself", "loopback"))
			f.Expect(f.ReachabilityOf(field.OtherPort)).To(Equal(field.OnlyFrom(field.AllClients...)))
		})
	}
}

// A node that is not enforced is not restricted, and a node that was rolled back is open
// again.
func TestOneLabelEnforcesAndRollsBack(t *testing.T) {
	f := field.StartCluster(t, calico.IPTables)
	hosts := hostsOf(f)
	waiting := render.WithRulesets(hosts)
	waiting.Nodes[0].Ruleset = rollout.Ruleset{}
	applyObjects(t, waiting)
	f.Expect(f.ReachabilityOf(field.KubeletPort)).To(Equal(field.OnlyFrom(field.AllClients...)))
	applyObjects(t, render.WithRulesets(hosts))
	f.WaitForReachability(field.KubeletPort, field.OnlyFrom("cp-2", "itself", "loopback"))
	f.Expect(field.Admin.Patch(t.Context(), withName(&v3.HostEndpoint{}, "cpnp-cp-1"),
		client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"cpnp.dev/enforced":null}}}`)))).To(Succeed())
	f.WaitForReachability(field.KubeletPort, field.OnlyFrom(field.AllClients...))
}

// Traffic that is neither for a component nor required nor listed is dropped, except on
// failsafe ports.
func TestUnlistedTrafficIsDropped(t *testing.T) {
	f := field.StartCluster(t, calico.IPTables)
	hosts := hostsOf(f)
	hosts.DenyUnlisted = true
	hosts.Listed = []backend.Flow{
		// IPv6 does not work without neighbor discovery.
		{Name: "neighbours", From: []backend.Source{{}}, Traffic: []profile.Traffic{
			{Protocol: profile.ICMPv6, Number: 135}, {Protocol: profile.ICMPv6, Number: 136},
		}},
		{Name: "other", From: []backend.Source{{Prefixes: hosts.Sets[0].Members["cp-2"]}}, Traffic: []profile.Traffic{
			{Protocol: profile.TCP, First: field.OtherPort, Last: field.OtherPort},
		}},
	}
	applyObjects(t, render.WithRulesets(hosts))
	f.WaitForReachability(field.KubeletPort, field.OnlyFrom("cp-2", "itself", "loopback"))
	f.WaitForReachability(field.OtherPort, field.OnlyFrom("cp-2", "itself", "loopback"))
}
