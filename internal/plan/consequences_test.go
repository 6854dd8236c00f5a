// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/calicotest"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// apiServer restricts the API server to administrators.
func apiServer(p *v1alpha1.ControlPlaneNetworkPolicy) {
	administered(p)
	peered("pods", v1alpha1.ExternalPods, "10.244.0.0/16")(p)
	p.Spec.Network.Components = []v1alpha1.Component{{Name: "apiServer", AllowFrom: []v1alpha1.PeerReference{{Peer: "admins"}}}}
}

func peered(name string, role v1alpha1.ExternalRole, cidrs ...v1alpha1.CIDR) edit {
	return func(p *v1alpha1.ControlPlaneNetworkPolicy) {
		p.Spec.Network.Peers = append(p.Spec.Network.Peers, v1alpha1.Peer{Name: name, Role: role, CIDRs: cidrs})
	}
}

func lets(peer string) edit {
	return func(p *v1alpha1.ControlPlaneNetworkPolicy) {
		c := &p.Spec.Network.Components[0]
		c.AllowFrom = append(c.AllowFrom, v1alpha1.PeerReference{Peer: peer})
	}
}

func flow(f v1alpha1.ProfileFlow) edit {
	return func(p *v1alpha1.ControlPlaneNetworkPolicy) { p.Spec.Profile.Flows = append(p.Spec.Profile.Flows, f) }
}

// A consequence that would otherwise go unnoticed is reported once, with the peer
// to add. It is not reported where the peer exists, or where nothing is denied.
func TestSilentConsequencesAreReported(t *testing.T) {
	const (
		members = "{name: joining-control-plane, role: ControlPlane, cidrs: [10.0.0.0/24]}"
		joining = "{name: joining, role: Nodes, cidrs: [10.0.0.0/24, 10.0.1.0/24]}"
		second  = "{name: workers-second-network, role: Nodes, cidrs: [10.20.0.0/24]}"
		ipv6    = `{name: nodes-ipv6, role: Nodes, cidrs: ["2001:db8:0:1::/64"]}`
		tunnel  = "{name: vpn-tunnel, from: [Any], to: Nodes, traffic: [udp/41641]}"
	)
	all := []string{members, joining, second, ipv6, tunnel}
	usual := func() state.Snapshot {
		return machines(machine("cp-1", "10.0.0.1"), machine("cp-2", "10.0.0.2"), machine("worker-1", "10.0.1.1"), machine("worker-2", "10.0.1.2"))
	}
	advertised := func() state.Snapshot {
		s := usual()
		s.Facts.APIServer = []netip.AddrPort{netip.MustParseAddrPort("10.20.0.1:6443"), netip.MustParseAddrPort("10.20.0.2:6443")}
		return s
	}
	dual := func() state.Snapshot {
		return machines(machine("cp-1", "10.0.0.1", "2001:db8:0:1::1"), machine("worker-1", "10.0.0.21", "2001:db8:0:1::21"))
	}
	overlaid := func() state.Snapshot {
		return machines(machine("cp-1", "100.101.0.1"), machine("worker-1", "100.101.0.21"))
	}
	wide := func(s state.Snapshot) state.Snapshot {
		none := v3.FelixConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
		none.Spec.FailsafeInboundHostPorts = &[]v3.ProtoPort{}
		calicotest.Edit(&s.Backend, func(c *calico.Live) { c.Felix = []v3.FelixConfiguration{none} })
		return s
	}
	joins := peered("machines", v1alpha1.ExternalNodes, "10.0.0.0/16", "100.64.0.0/10")
	for name, test := range map[string]struct {
		cluster state.Snapshot
		edits   []edit
		want    []string
	}{
		"an address that all nodes show is in no network": {cluster: showing(showing(showing(showing(usual(), "cp-1", "10.0.2.15"), "cp-2", "10.0.2.15"),
			"worker-1", "10.0.2.15"), "worker-2", "10.0.2.15"), want: []string{members}},
		"members that join etcd":                                     {cluster: usual(), want: []string{members}},
		"etcd with open failsafe ports":                              {cluster: usual(), edits: []edit{keepsFailsafes}},
		"etcd without failsafe ports":                                {cluster: wide(usual()), edits: []edit{keepsFailsafes}, want: []string{members}},
		"a peer with the network of future members":                  {cluster: usual(), edits: []edit{peered("machines", v1alpha1.ExternalControlPlane, "10.0.0.0/24")}},
		"a peer that is one address":                                 {cluster: usual(), edits: []edit{peered("one", v1alpha1.ExternalControlPlane, "10.0.0.3/32")}, want: []string{members}},
		"a peer of nodes that are not members":                       {cluster: usual(), edits: []edit{peered("machines", v1alpha1.ExternalNodes, "10.0.0.0/24")}, want: []string{members}},
		"the network of the nodes is allowed":                        {cluster: usual(), edits: []edit{peered("racks", "", "10.0.0.0/24"), lets("racks")}},
		"another network is allowed":                                 {cluster: usual(), edits: []edit{peered("bastion", "", "10.9.0.0/24"), lets("bastion")}, want: []string{members}},
		"etcd is not restricted":                                     {cluster: usual(), edits: []edit{onlyKubelet}},
		"machines that join":                                         {cluster: usual(), edits: []edit{apiServer}, want: []string{joining}},
		"a peer with the network of joining machines":                {cluster: usual(), edits: []edit{apiServer, joins}},
		"an API server on a network of its own":                      {cluster: advertised(), edits: []edit{apiServer, joins}, want: []string{second}},
		"an API server on a network in which workers show addresses": {cluster: showing(advertised(), "worker-1", "10.20.0.21"), edits: []edit{apiServer, joins}},
		"an API server on a network that a peer has":                 {cluster: advertised(), edits: []edit{apiServer, joins, peered("fabric", v1alpha1.ExternalNodes, "10.20.0.0/16")}},
		"nodes of the control plane in two networks":                 {cluster: showing(showing(usual(), "cp-1", "10.20.0.1"), "cp-1", "10.0.1.3"), edits: []edit{apiServer, joins}, want: []string{second}},
		"nodes of the control plane in different networks":           {cluster: usual(), edits: []edit{apiServer, joins}},
		"an open API server on a network of its own":                 {cluster: advertised(), edits: []edit{peered("m", v1alpha1.ExternalControlPlane, "10.0.0.0/24")}},
		"node addresses that the nodes choose themselves":            {cluster: dual(), edits: []edit{apiServer, joins}, want: []string{ipv6}},
		"node addresses that the nodes choose themselves, of members of etcd": {cluster: dual(), edits: []edit{peered("m", v1alpha1.ExternalControlPlane, "10.0.0.0/24")},
			want: []string{`{name: control-plane-ipv6, role: ControlPlane, cidrs: ["2001:db8:0:1::/64"]}`}},
		"node addresses that the nodes choose themselves that a peer has":                    {cluster: dual(), edits: []edit{apiServer, joins, peered("v6", v1alpha1.ExternalNodes, "2001:db8::/48")}},
		"node addresses that the nodes choose themselves, and no restricted flow from nodes": {cluster: dual(), edits: []edit{onlyKubelet, openKubelet}},
		"nodes on a VPN": {cluster: overlaid(), edits: []edit{apiServer, joins, deniesRest}, want: []string{tunnel}},
		"nodes on a VPN, where unlisted flows pass":        {cluster: overlaid(), edits: []edit{apiServer, joins}},
		"nodes on a VPN with a declared tunnel flow":       {cluster: overlaid(), edits: []edit{apiServer, joins, deniesRest, keepsFailsafes, flow(v1alpha1.ProfileFlow{Name: "vpn-tunnel", From: []v1alpha1.FlowRole{"Any"}, To: "Nodes", Traffic: []v1alpha1.Traffic{"udp/41641"}})}},
		"nodes on a VPN with the tunnel as a component":    {cluster: overlaid(), edits: []edit{apiServer, joins, deniesRest, keepsFailsafes, also("vpn", at(v1alpha1.Port{Protocol: "UDP", Port: 51820}))}},
		"nodes on a VPN with a declared flow of TCP":       {cluster: overlaid(), edits: []edit{apiServer, joins, deniesRest, keepsFailsafes, flow(v1alpha1.ProfileFlow{Name: "agent", From: []v1alpha1.FlowRole{"Any"}, To: "Nodes", Traffic: []v1alpha1.Traffic{"tcp/9100"}})}, want: []string{tunnel}},
		"usual addresses, where unlisted flows are denied": {cluster: usual(), edits: []edit{apiServer, joins, deniesRest, keepsFailsafes}},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			notes := slices.DeleteFunc(protect(t, test.cluster, test.edits...).Notes, func(note string) bool {
				return !slices.ContainsFunc(append(all, "joining-control-plane", "vpn-tunnel", "nodes-ipv6", "control-plane-ipv6", "second-network", "name: joining,"), func(what string) bool {
					return strings.Contains(note, what)
				})
			})
			g.Expect(notes).To(HaveLen(len(test.want)), "%q", notes)
			for _, want := range test.want {
				g.Expect(notes).To(ContainElement(ContainSubstring(want)))
			}
			for _, note := range notes {
				g.Expect(len(note)).To(BeNumerically("<", 400), note)
			}
		})
	}
}

func onlyKubelet(p *v1alpha1.ControlPlaneNetworkPolicy) {
	p.Spec.Network.Components = []v1alpha1.Component{{Name: "kubelet", AllowFrom: []v1alpha1.PeerReference{{Role: "ControlPlane"}}}}
}

// openKubelet restricts a component of its own that no node has to reach.
func openKubelet(p *v1alpha1.ControlPlaneNetworkPolicy) {
	c := &p.Spec.Network.Components[0]
	c.Name, c.Ports = "agent", []v1alpha1.Port{tcp(9100)}
}

func deniesRest(p *v1alpha1.ControlPlaneNetworkPolicy) {
	p.Spec.Network.Unlisted = v1alpha1.UnlistedDeny
}

// showing adds an address to a node.
func showing(s state.Snapshot, node, address string) state.Snapshot {
	for i := range s.Nodes {
		if s.Nodes[i].Name == node {
			s.Nodes[i].Status.Addresses = append(s.Nodes[i].Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: address})
		}
	}
	return s
}
