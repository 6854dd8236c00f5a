// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"net/netip"
	"testing"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/field"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/network"
)

// A pod with access to the control plane reaches the API servers, in a network hidden from
// all nodes, and no other machine there, even while an API server is down for a while.
// Likewise only API servers of the hidden network reach the pod.
func TestPodsReachAPIServersWhereTheyAre(t *testing.T) {
	const dns = 53
	f := field.StartCluster(t, calico.IPTables)
	first, second, outsider := f.Cluster.Machine("cp-1"), f.Cluster.Machine("cp-2"), f.Cluster.Machine(calico.Outsider)
	labels := map[string]string{"k8s-app": "kube-dns"}
	coredns := f.StartPod(testbed.Pod("kube-system", "coredns", testbed.OnNode("worker-1"), testbed.PodLabels(labels)),
		netip.MustParseAddr("10.200.0.7"), first.Name, second.Name, outsider.Name)
	for _, m := range []*network.Machine{second, outsider} { // the first machine listens already
		_, err := m.Listen(network.TCP, field.APIServerPort)
		f.Expect(err).NotTo(HaveOccurred())
	}
	_, err := coredns.Listen(network.TCP, dns)
	f.Expect(err).NotTo(HaveOccurred())
	f.SetAPIServers(field.APIServerPort, first.Dedicated.IPv4, second.Dedicated.IPv4)
	f.StartOperatorWith(field.OperatorConfig, field.SteadySoon)

	try := func(from *network.Machine, source, to netip.Addr, port uint16) string {
		verdict, err := from.Dial(network.TCP, netip.AddrPortFrom(to, port), network.From(source), network.Within(field.AlmostARetry))
		if err != nil {
			return err.Error()
		}
		return string(verdict)
	}
	// For each machine: the verdict on connections from the pod to the API server's port,
	// and from the machine to the pod.
	reached := func() map[string]string {
		is := map[string]string{}
		for _, m := range []*network.Machine{first, second, outsider} {
			is[m.Name] = try(coredns, coredns.Cluster.IPv4, m.Dedicated.IPv4, field.APIServerPort) + "/" +
				try(m, m.Dedicated.IPv4, coredns.Cluster.IPv4, dns)
		}
		return is
	}
	want := func(outsiders string) map[string]string {
		return map[string]string{first.Name: "Open/Open", second.Name: "Open/Open", outsider.Name: outsiders}
	}
	f.Eventually(reached, field.Patience, field.Tick).Should(Equal(want("Open/Open")), "before the policy")

	members := []v1alpha1.PeerReference{{Role: v1alpha1.RoleControlPlane}}
	f.CreatePolicy(f.NewPolicy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) {
		s.Network.Components = []v1alpha1.Component{{
			Name:      "coredns",
			Pods:      &v1alpha1.PodSelector{Namespace: metav1.NamespaceSystem, Selector: v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"k8s-app": "kube-dns"}}},
			Ports:     []v1alpha1.Port{{Protocol: "TCP", Port: dns}},
			AllowFrom: members,
			AllowTo:   []v1alpha1.Destination{{Role: v1alpha1.RoleControlPlane, Ports: []v1alpha1.Port{{Protocol: "TCP", Port: field.APIServerPort}}}},
		}}
	}))
	f.Eventually(reached, field.Patience, field.Tick).Should(Equal(want("Dropped/Dropped")))
	f.WaitForCondition(v1alpha1.ConditionReady, "True/AsDeclared")
	watchman := f.WatchPackets(func(cut func(string)) {
		if got := try(coredns, coredns.Cluster.IPv4, second.Dedicated.IPv4, field.APIServerPort); got != string(network.Open) {
			cut(got)
		}
	})

	f.SetAPIServers(field.APIServerPort, first.Dedicated.IPv4)
	f.Eventually(serverState(second.Dedicated.IPv4), field.Patience, field.Tick).Should(Equal("missing"))
	f.WaitForCondition(v1alpha1.ConditionReady, "True/AsDeclared")
	f.Expect(reached()).To(Equal(want("Dropped/Dropped")))
	f.SetAPIServers(field.APIServerPort, first.Dedicated.IPv4, second.Dedicated.IPv4)
	f.Eventually(serverState(second.Dedicated.IPv4), field.Patience, field.Tick).Should(Equal("there"))
	f.WaitForCondition(v1alpha1.ConditionReady, "True/AsDeclared")
	f.Expect(reached()).To(Equal(want("Dropped/Dropped")))
	f.Expect(watchman.StopWatching()).To(BeEmpty())
}
