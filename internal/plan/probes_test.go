// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	corev1 "k8s.io/api/core/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/calicotest"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

func keepsFailsafes(p *v1alpha1.ControlPlaneNetworkPolicy) {
	p.Spec.Network.Failsafe = v1alpha1.FailsafeKeep
}

func deniesUnlisted(p *v1alpha1.ControlPlaneNetworkPolicy) {
	p.Spec.Network.Unlisted = v1alpha1.UnlistedDeny
	administered(p)
}

func administered(p *v1alpha1.ControlPlaneNetworkPolicy) {
	p.Spec.Network.Peers = []v1alpha1.Peer{{Name: "admins", Role: "Admin", CIDRs: []v1alpha1.CIDR{"10.9.0.0/16"}}}
}

// also adds a component that the control plane may reach.
func also(name string, edits ...func(*v1alpha1.Component)) edit {
	return func(p *v1alpha1.ControlPlaneNetworkPolicy) {
		c := v1alpha1.Component{Name: name, AllowFrom: []v1alpha1.PeerReference{{Role: "ControlPlane"}}}
		for _, edit := range edits {
			edit(&c)
		}
		p.Spec.Network.Components = append(p.Spec.Network.Components, c)
	}
}

func at(ports ...v1alpha1.Port) func(*v1alpha1.Component) {
	return func(c *v1alpha1.Component) { c.Ports = ports }
}

func tcp(port int32) v1alpha1.Port { return v1alpha1.Port{Protocol: "TCP", Port: port} }

func within(cidr v1alpha1.CIDR) func(*v1alpha1.Component) {
	return func(c *v1alpha1.Component) { c.AddressCIDR = cidr }
}

// kubeletAt makes the first node report where its kubelet listens.
func kubeletAt(port int32) func(*state.Snapshot) {
	return func(s *state.Snapshot) { s.Nodes[0].Status.DaemonEndpoints.KubeletEndpoint.Port = port }
}

// probesAt are the probes of cp-1 in a small cluster of both IP versions.
func probesAt(t *testing.T, cluster func(*state.Snapshot), edits ...edit) plan.Probes {
	t.Helper()
	snapshot := machines(machine("cp-1", "10.0.0.1", "fd00::1"), machine("cp-2", "10.0.0.2", "fd00::2"),
		machine("worker-1", "10.0.1.1", "fd00::11"), machine("worker-2"))
	calicotest.Edit(&snapshot.Backend, func(c *calico.Live) { c.Pools = []v3.IPPool{{Spec: v3.IPPoolSpec{CIDR: "10.244.0.0/24"}}} })
	if cluster != nil {
		cluster(&snapshot)
	}
	hosts := protect(t, snapshot, edits...)
	return plan.ProbesOf(hosts, hosts.Whole.Nodes[0], snapshot)
}

func from(name string, addresses ...string) v1alpha1.Observation {
	return v1alpha1.Observation{Name: name, Addresses: addresses}
}

func TestExpectedOutcomeOfAProbe(t *testing.T) {
	const operator = v1alpha1.ObserverOperator
	const must, mustNot, either = rollout.MustConnect, rollout.MustNotConnect, rollout.AnyOutcome
	foreign := func(s *state.Snapshot) {
		e := endpointWith("q", "cp-1", "")
		e.Name, e.Spec.InterfaceName = "theirs", "eth9"
		calicotest.Edit(&s.Backend, func(c *calico.Live) { c.Endpoints = append(c.Endpoints, e) })
	}
	const restricted = 9000
	admin := also("admin", at(tcp(restricted)), within("10.0.0.0/24"))
	tests := map[string]struct {
		cluster func(*state.Snapshot)
		edits   []edit
		from    v1alpha1.Observation
		address string
		port    v1alpha1.PortNumber
		want    rollout.Expectation
	}{
		"A control-plane node at etcd":                                               {from: from("cp-2"), port: 2379, want: must},
		"A control-plane node at etcd, by IPv6":                                      {from: from("cp-2"), address: "fd00::1", port: 2379, want: must},
		"A worker at etcd":                                                           {from: from("worker-1"), port: 2379, want: mustNot},
		"A worker at etcd, by IPv6":                                                  {from: from("worker-1"), address: "fd00::1", port: 2380, want: mustNot},
		"A worker at etcd with open failsafe ports":                                  {edits: []edit{keepsFailsafes}, from: from("worker-1"), port: 2379, want: either},
		"A control-plane node at etcd with open failsafe ports":                      {edits: []edit{keepsFailsafes}, from: from("cp-2"), port: 2379, want: must},
		"A worker at etcd, whose failsafe ports are foreign":                         {cluster: foreign, from: from("worker-1"), port: 2379, want: either},
		"A worker at a port that is not a failsafe port":                             {edits: []edit{keepsFailsafes, also("kubelet")}, from: from("worker-1"), port: 10250, want: mustNot},
		"A control-plane node at a port that is not a failsafe port":                 {edits: []edit{keepsFailsafes, also("kubelet")}, from: from("cp-2"), port: 10250, want: must},
		"The node itself":                                                            {from: from("cp-1"), port: 2379, want: must},
		"The node itself, where no other node may connect":                           {edits: []edit{also("admin", at(tcp(restricted)), outsiders), administered}, from: from("cp-1"), port: restricted, want: must},
		"Another node, where no other node may connect":                              {edits: []edit{also("admin", at(tcp(restricted)), outsiders), administered}, from: from("cp-2"), port: restricted, want: mustNot},
		"An operator with the address of a pod":                                      {from: from(operator, "10.244.0.7"), port: 2379, want: mustNot},
		"An operator with addresses of a control-plane node":                         {from: from(operator, "10.0.0.2", "fd00::2"), port: 2379, want: must},
		"An operator with the address of a control-plane node, written as IPv6":      {from: from(operator, "::ffff:10.0.0.2"), port: 2379, want: must},
		"An operator with one allowed address and one denied":                        {from: from(operator, "10.0.0.2", "10.244.0.7"), port: 2379, want: either},
		"An operator without an address":                                             {from: from(operator), port: 2379, want: either},
		"An operator with an invalid address":                                        {from: from(operator, "localhost"), port: 2379, want: either},
		"An observer on an unknown node":                                             {from: from("gone", "10.0.0.2"), port: 2379, want: either},
		"An observer on a node without an address":                                   {from: from("worker-2"), port: 2379, want: either},
		"A worker that claims another address":                                       {from: from("worker-1", "10.0.0.2"), port: 2379, want: mustNot},
		"A port that is not probed":                                                  {from: from("worker-1"), port: 4711, want: either},
		"A worker at an unrestricted kubelet":                                        {cluster: kubeletAt(10250), from: from("worker-1"), port: 10250, want: either},
		"A control-plane node at an unrestricted kubelet, which it must reach":       {from: from("cp-2"), port: 10250, want: must},
		"A worker at an unrestricted API server":                                     {from: from("worker-1"), port: 6443, want: must},
		"An operator with the address of a pod at an unrestricted API server":        {from: from(operator, "10.244.0.7"), port: 6443, want: must},
		"A foreign address at an unrestricted API server":                            {from: from(operator, "192.0.2.7"), port: 6443, want: either},
		"A kubelet on an unexpected port":                                            {cluster: kubeletAt(10999), edits: []edit{also("kubelet")}, from: from("worker-1"), port: 10999, want: mustNot},
		"A kubelet on an unexpected port, from the control plane":                    {cluster: kubeletAt(10999), edits: []edit{also("kubelet")}, from: from("cp-2"), port: 10999, want: must},
		"A component on an address of its own":                                       {edits: []edit{admin}, from: from("worker-1"), port: restricted, want: mustNot},
		"Another address than that of the component":                                 {edits: []edit{admin}, from: from("worker-1"), address: "fd00::1", port: restricted, want: either},
		"A component on an interface of its own":                                     {edits: []edit{also("admin", at(tcp(restricted)), onInterface)}, from: from("worker-1"), port: restricted, want: either},
		"A flow that is required from every node":                                    {edits: []edit{deniesUnlisted}, from: from("worker-1"), port: 5473, want: must},
		"An unlisted flow, where unlisted flows are denied":                          {edits: []edit{deniesUnlisted}, from: from(operator, "192.0.2.7"), port: 10250, want: mustNot},
		"An unlisted flow to a failsafe port":                                        {edits: []edit{deniesUnlisted}, from: from(operator, "192.0.2.7"), port: 5473, want: either},
		"A flow that is only listed, where unlisted flows are denied":                {edits: []edit{deniesUnlisted}, from: from("worker-1"), port: 10250, want: must},
		"An unlisted flow, where unlisted flows pass":                                {cluster: kubeletAt(10250), from: from(operator, "192.0.2.7"), port: 10250, want: either},
		"The node itself at the cloud's metadata service":                            {from: from("cp-1"), address: "169.254.169.254", port: 80, want: must},
		"Another node at the cloud's metadata service, which proves nothing of cp-1": {from: from("cp-2"), address: "169.254.169.254", port: 80, want: either},
		"The operator at the cloud's metadata service":                               {from: from(operator, "10.0.0.1"), address: "169.254.169.254", port: 80, want: either},
		"The node itself at the cloud's metadata service, at a port of no flow":      {from: from("cp-1"), address: "169.254.169.254", port: 81, want: either},
		"A component that everybody may reach":                                       {edits: []edit{also("admin", at(tcp(restricted)), anybody)}, from: from("worker-1"), port: restricted, want: must},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if test.address == "" {
				test.address = "10.0.0.1"
			}
			got := probesAt(t, test.cluster, test.edits...).ExpectedOutcome(test.from, test.address, test.port)
			NewWithT(t).Expect(got).To(Equal(test.want))
		})
	}
}

func onInterface(c *v1alpha1.Component) { c.Interface = "eth1" }

// outsiders are the addresses of a network without nodes.
func outsiders(c *v1alpha1.Component) { c.AllowFrom = []v1alpha1.PeerReference{{Peer: "admins"}} }

func anybody(c *v1alpha1.Component) { c.AllowFrom = []v1alpha1.PeerReference{{Role: "Any"}} }

func TestTargetsAreTheSinglePortsOfComponentsAndRequiredFlows(t *testing.T) {
	const tls, plain = v1alpha1.ProbeTLS, v1alpha1.ProbeTCP
	type ports = map[v1alpha1.PortNumber]v1alpha1.ProbeProtocol
	tests := map[string]struct {
		cluster func(*state.Snapshot)
		edits   []edit
		more    ports // beside the ports of required flows
		without []v1alpha1.PortNumber
	}{
		"etcd": {},
		"etcd on ports of its own": {
			edits: []edit{func(p *v1alpha1.ControlPlaneNetworkPolicy) { p.Spec.Network.Components = nil }, also("etcd", at(tcp(4001)))},
			more:  ports{4001: tls, 2379: plain, 2380: plain}, // the usual ports may be the right ones
		},
		"An unknown component, which may use any protocol": {
			edits: []edit{also("admin", at(tcp(9000)))},
			more:  ports{9000: plain},
		},
		"A range of ports, whose listeners are unknown": {
			edits: []edit{also("admin", at(v1alpha1.Port{Protocol: "TCP", Port: 9000, EndPort: 9001}))},
		},
		"UDP, which is not probed": {
			edits: []edit{also("admin", at(v1alpha1.Port{Protocol: "UDP", Port: 9000}))},
		},
		"A kubelet that reports its port": {
			cluster: kubeletAt(10999), more: ports{10999: tls},
		},
		"A kubelet on the port of another component": {
			cluster: kubeletAt(9000), edits: []edit{also("admin", at(tcp(9000)))},
			more: ports{9000: plain},
		},
		"The kubelet of another node, which is probed at every node": {
			cluster: func(s *state.Snapshot) { s.Nodes[1].Status.DaemonEndpoints.KubeletEndpoint.Port = 10999 },
			more:    ports{10999: tls},
		},
		"Required flows, where unlisted flows are denied": {
			edits: []edit{deniesUnlisted},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			want := ports{2379: tls, 2380: tls, 6443: tls, 10250: tls, 5473: plain}
			maps.Copy(want, test.more)
			for _, port := range test.without {
				delete(want, port)
			}
			for _, address := range []string{"10.0.0.1", "fd00::1"} {
				got := map[v1alpha1.PortNumber]v1alpha1.ProbeProtocol{}
				for _, target := range probesAt(t, test.cluster, test.edits...).Targets() {
					if target.Address == address {
						got[target.Port] = target.Protocol
					}
				}
				g.Expect(got).To(Equal(want), address)
			}
		})
	}
}

// replicating has etcd on a network of its own, in which the nodes of the
// control plane have addresses that they do not show.
func replicating(cidrs ...v1alpha1.CIDR) edit {
	return func(p *v1alpha1.ControlPlaneNetworkPolicy) {
		p.Spec.Network.Components[0].AddressCIDR = "10.78.0.0/24"
		p.Spec.Network.Peers = []v1alpha1.Peer{{Name: "replication", Role: v1alpha1.ExternalControlPlane, CIDRs: cidrs}}
	}
}

// outside are the addresses outside the cluster that the profile names.
var outside = []string{"168.63.129.16", "169.254.169.254", "fd00:ec2::254"}

// Flows from a node to addresses that the profile or the policy names are probed,
// if the node has addresses of the IP version and the protocol has connections.
func TestRequiredFlowsOutOfTheClusterAreProbed(t *testing.T) {
	turning := func(to v1alpha1.FlowRole, from v1alpha1.FlowRole, traffic v1alpha1.Traffic, cidrs ...v1alpha1.CIDR) edit {
		return func(p *v1alpha1.ControlPlaneNetworkPolicy) {
			p.Spec.Profile.Flows = []v1alpha1.ProfileFlow{{
				Name: "mine", From: []v1alpha1.FlowRole{from}, To: to, Traffic: []v1alpha1.Traffic{traffic}, Destinations: cidrs,
			}}
		}
	}
	ipv4 := func(s *state.Snapshot) { s.Nodes[0].Status.Addresses = s.Nodes[0].Status.Addresses[:1] }
	for name, test := range map[string]struct {
		cluster func(*state.Snapshot)
		edits   []edit
		want    []string
	}{
		"of the profile":           {want: outside},
		"without IPv6":             {cluster: ipv4, want: outside[:2]},
		"of the policy":            {edits: []edit{turning("Any", "ControlPlane", "tcp/443", "192.0.2.7/32")}, want: append([]string{"192.0.2.7"}, outside...)},
		"of every node":            {edits: []edit{turning("Any", "Nodes", "tcp/443", "192.0.2.7/32")}, want: append([]string{"192.0.2.7"}, outside...)},
		"from other nodes":         {edits: []edit{turning("Nodes", "Any", "tcp/443", "192.0.2.7/32")}, want: outside},
		"UDP, which is not probed": {edits: []edit{turning("Any", "ControlPlane", "udp/53", "192.0.2.7/32")}, want: outside},
		"a range of ports":         {edits: []edit{turning("Any", "ControlPlane", "tcp/1-9", "192.0.2.7/32")}, want: outside},
		"a network":                {edits: []edit{turning("Any", "ControlPlane", "tcp/443", "192.0.2.0/24")}, want: outside},
		"multicast":                {edits: []edit{turning("Any", "ControlPlane", "tcp/443", "224.0.0.18/32")}, want: outside},
		"to any address":           {edits: []edit{turning("Any", "ControlPlane", "tcp/443")}, want: outside},
	} {
		t.Run(name, func(t *testing.T) {
			got := map[string]bool{}
			for _, target := range probesAt(t, test.cluster, test.edits...).Targets() {
				if target.Address != "10.0.0.1" && target.Address != "fd00::1" {
					got[target.Address] = true
				}
			}
			NewWithT(t).Expect(slices.Collect(maps.Keys(got))).To(ConsistOf(test.want))
		})
	}
}

func TestRequiredFlowsToAddressesThatNoNodeShowsAreProbed(t *testing.T) {
	g := NewWithT(t)
	probes := probesAt(t, nil, replicating("10.78.0.1/32", "10.78.0.2/32"))
	var got []string
	for _, target := range probes.Targets() {
		if target.Address != "10.0.0.1" && target.Address != "fd00::1" && !slices.Contains(outside, target.Address) {
			got = append(got, fmt.Sprintf("%s %s %d", target.Protocol, target.Address, target.Port))
		}
	}
	g.Expect(got).To(Equal([]string{"TLS 10.78.0.1 2379", "TLS 10.78.0.1 2380", "TLS 10.78.0.2 2379", "TLS 10.78.0.2 2380"}))
	expect := func(who, address string, port v1alpha1.PortNumber) rollout.Expectation {
		return probes.ExpectedOutcome(from(who), address, port)
	}
	g.Expect(expect("cp-2", "10.78.0.1", 2379)).To(Equal(rollout.MustConnect))
	g.Expect(expect("worker-1", "10.78.0.1", 2379)).To(Equal(rollout.AnyOutcome), "the address may belong to another node, which has no rules yet")
	g.Expect(expect("worker-2", "10.78.0.1", 2379)).To(Equal(rollout.AnyOutcome), "the source address of this connection is unknown")
	g.Expect(expect("cp-2", "10.78.0.1", 10250)).To(Equal(rollout.AnyOutcome))

	whole := probesAt(t, nil, replicating("10.78.0.0/24"))
	g.Expect(whole.Targets()).To(HaveEach(HaveField("Address", BeElementOf(append([]string{"10.0.0.1", "fd00::1"}, outside...)))), "the nodes' addresses in the network are unknown")
}

func TestDedicatedAddressesAreJudged(t *testing.T) {
	for name, test := range map[string]struct {
		cidrs []v1alpha1.CIDR
		want  []string
	}{
		"single addresses":              {[]v1alpha1.CIDR{"10.78.0.1/32", "10.78.0.2/32"}, []string{"10.78.0.1/32", "10.78.0.2/32"}},
		"the network":                   {[]v1alpha1.CIDR{"10.78.0.0/24"}, []string{"10.78.0.0/24"}},
		"more than the network":         {[]v1alpha1.CIDR{"10.78.0.0/16"}, []string{"10.78.0.0/24"}},
		"an address beside the network": {[]v1alpha1.CIDR{"10.78.0.0/24", "10.79.0.1/32"}, []string{"10.78.0.0/24"}},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			lines := protect(t, machines(machine("cp-1", "10.0.0.1"), machine("cp-2", "10.0.0.2")), replicating(test.cidrs...)).RequiredFlows
			g.Expect(lines.Dedicated).To(HaveLen(1))
			var got []string
			for _, prefix := range lines.Dedicated[0].Addresses {
				got = append(got, prefix.String())
			}
			g.Expect(got).To(Equal(test.want))
		})
	}
}

func TestTargetsAreSortedAndBounded(t *testing.T) {
	g := NewWithT(t)
	many := func(s *state.Snapshot) {
		for i := range 40 {
			s.Nodes[0].Status.Addresses = append(s.Nodes[0].Status.Addresses,
				corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: fmt.Sprintf("10.0.2.%d", i)})
		}
	}
	few := probesAt(t, nil).Targets()
	g.Expect(few).To(Equal([]v1alpha1.ProbeTarget{
		{Address: "10.0.0.1", Port: 2379, Protocol: "TLS"}, {Address: "10.0.0.1", Port: 2380, Protocol: "TLS"},
		{Address: "10.0.0.1", Port: 5473, Protocol: "TCP"}, {Address: "10.0.0.1", Port: 6443, Protocol: "TLS"},
		{Address: "10.0.0.1", Port: 10250, Protocol: "TLS"},
		{Address: "fd00::1", Port: 2379, Protocol: "TLS"}, {Address: "fd00::1", Port: 2380, Protocol: "TLS"},
		{Address: "fd00::1", Port: 5473, Protocol: "TCP"}, {Address: "fd00::1", Port: 6443, Protocol: "TLS"},
		{Address: "fd00::1", Port: 10250, Protocol: "TLS"},
		{Address: "168.63.129.16", Port: 80, Protocol: "TCP"}, {Address: "169.254.169.254", Port: 80, Protocol: "TCP"},
		{Address: "fd00:ec2::254", Port: 80, Protocol: "TCP"},
	}))
	probes := probesAt(t, many)
	first := probes.Targets()
	g.Expect(first).To(HaveLen(64))
	g.Expect(first[:2]).To(Equal(few[:2]))
	for range 10 {
		g.Expect(slices.Equal(probes.Targets(), first)).To(BeTrue(), "the order is the same each time")
	}
}
