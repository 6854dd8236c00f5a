// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/field"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/network"
)

// API servers and etcd have a separate network, hidden from all nodes' addresses. Members
// are recognized by the addresses of the API servers. Members are let in at the addresses
// of API servers, even while the member's API server is down, even by an operator started
// after the API server went down, and even without the node's label.
func TestMembersAreAllowedAtTheAddressesOfTheirAPIServers(t *testing.T) {
	f := field.StartCluster(t, calico.IPTables)
	first, second := f.Cluster.Machine("cp-1").Dedicated.IPv4, f.Cluster.Machine("cp-2").Dedicated.IPv4
	f.SetAPIServers(field.APIServerPort, first, second)
	stop := f.StartOperatorWith(field.OperatorConfig, field.SteadySoon)
	f.Expect(reachDedicated(f)).To(Equal(onlyFromDedicated("cp-1", "cp-2", "worker-1", calico.Outsider)), "before the policy")

	f.CreatePolicy(f.NewPolicy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Network.Failsafe = v1alpha1.FailsafeScope }))
	protected := func() {
		t.Helper()
		f.Eventually(func() map[string]string { return reachDedicated(f) }, field.Patience, field.Tick).Should(Equal(onlyFromDedicated("cp-1", "cp-2")), field.DescribeEnactments)
		f.WaitForCondition(v1alpha1.ConditionReady, "True/AsDeclared")
	}
	watchman := f.WatchPackets(func(cut func(string)) {
		for _, from := range []string{"cp-1", "cp-2"} {
			for _, port := range []uint16{field.EtcdPort, field.PeersPort} {
				if got := dialDedicated(f, from, port); got != string(network.Open) {
					cut(fmt.Sprintf("%s to port %d: %s", from, port, got))
				}
			}
		}
	})
	protected()

	t.Log("an API server goes down together with the operator")
	stop()
	f.SetAPIServers(field.APIServerPort, first)
	f.StartOperatorWith(field.OperatorConfig, field.SteadySoon)
	t.Cleanup(f.RemovePolicy) // while an operator runs
	f.Eventually(serverState(second), field.Patience, field.Tick).Should(Equal("missing"))
	protected()

	t.Log("the node of the API server loses the label")
	labelNode(f, "cp-2", "null")
	f.Eventually(func() *v1alpha1.ControlPlaneNodeEnactment { return field.EnactmentOf("cp-2") }, field.Patience, field.Tick).Should(BeNil())
	protected()

	t.Log("the API server runs again")
	f.SetAPIServers(field.APIServerPort, first, second)
	f.Eventually(serverState(second), field.Patience, field.Tick).Should(Equal("there"))
	protected()
	f.Expect(watchman.StopWatching()).To(BeEmpty())

	t.Log("the API server is gone for good: its address is forgotten in the end")
	f.SetAPIServers(field.APIServerPort, first)
	f.Eventually(serverState(second), field.Patience, field.Tick).Should(Equal("missing"))
	longAgo := time.Now().Add(-8 * 24 * time.Hour).UTC().Format(time.RFC3339)
	forget := fmt.Sprintf(`{"status":{"apiServers":[{"address":%q},{"address":%q,"missingSince":%q}]}}`, first, second, longAgo)
	policy := &v1alpha1.ControlPlaneNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: field.PolicyName}}
	f.Expect(field.Admin.Status().Patch(t.Context(), policy, client.RawPatch(types.MergePatchType, []byte(forget)))).To(Succeed())
	f.Eventually(func() map[string]string { return reachDedicated(f) }, field.Patience, field.Tick).Should(Equal(onlyFromDedicated("cp-1")))
	f.Expect(serverState(second)()).To(Equal("unknown"))
}

// A control-plane node is let in by an address found by Calico, beside the addresses shown
// by the kubelet. A node outside of the control plane is not let in.
func TestMembersAreAllowedByTheirOtherAddresses(t *testing.T) {
	f := field.StartCluster(t, calico.NFTables)
	for _, name := range []string{"cp-1", "cp-2", "worker-1"} {
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
		patch := fmt.Sprintf(`{"metadata":{"annotations":{"projectcalico.org/IPv4Address":"%s/24"}}}`, f.Cluster.Machine(name).Dedicated.IPv4)
		f.Expect(field.Admin.Patch(t.Context(), node, client.RawPatch(types.MergePatchType, []byte(patch)))).To(Succeed())
	}
	f.StartQuickOperator()
	f.Expect(reachDedicated(f)).To(Equal(onlyFromDedicated("cp-1", "cp-2", "worker-1", calico.Outsider)), "before the policy")
	f.CreatePolicy(f.NewPolicy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Network.Failsafe = v1alpha1.FailsafeScope }))
	f.Eventually(func() map[string]string { return reachDedicated(f) }, field.Patience, field.Tick).Should(Equal(onlyFromDedicated("cp-1", "cp-2")), field.DescribeEnactments)
	f.WaitForCondition(v1alpha1.ConditionReady, "True/AsDeclared")

	t.Log("the node loses the label: an address without an API server proves nothing")
	labelNode(f, "cp-2", "null")
	f.Eventually(func() map[string]string { return reachDedicated(f) }, field.Patience, field.Tick).Should(Equal(onlyFromDedicated("cp-1")))
}

// dedicatedSenders are the machines that try to connect to etcd on cp-1 in the dedicated
// network.
var dedicatedSenders = []string{"cp-1", "cp-2", "worker-1", calico.Outsider}

// reachDedicated returns the verdicts on connections to etcd on cp-1 in the dedicated
// network, for its clients and for its peers.
func reachDedicated(f *field.Field) map[string]string {
	f.T.Helper()
	reached := map[string]string{}
	for _, from := range dedicatedSenders {
		reached[from] = dialDedicated(f, from, field.EtcdPort) + "/" + dialDedicated(f, from, field.PeersPort)
	}
	return reached
}

func dialDedicated(f *field.Field, from string, port uint16) string {
	machine, to := f.Cluster.Machine(from), f.Cluster.Machine("cp-1").Dedicated.IPv4
	verdict, err := machine.Dial(network.TCP, netip.AddrPortFrom(to, port), network.From(machine.Dedicated.IPv4), network.Within(field.AlmostARetry))
	if err != nil {
		return err.Error()
	}
	return string(verdict)
}

func onlyFromDedicated(names ...string) map[string]string {
	want := map[string]string{}
	for _, from := range dedicatedSenders {
		want[from] = "Dropped/Dropped"
	}
	for _, name := range names {
		want[name] = "Open/Open"
	}
	return want
}

// serverState returns a function to read the state of an API server from the policy's
// status.
func serverState(address netip.Addr) func() string {
	return func() string {
		policy := field.PolicyNow()
		for _, server := range policy.Status.APIServers {
			switch {
			case server.Address != address.String():
			case server.MissingSince != nil:
				return "missing"
			default:
				return "there"
			}
		}
		return "unknown"
	}
}

// labelNode sets the control-plane label of a node, or removes the label where the value is
// null.
func labelNode(f *field.Field, node, value string) {
	f.T.Helper()
	patch := fmt.Sprintf(`{"metadata":{"labels":{%q:%s}}}`, testbed.ControlPlaneRole, value)
	f.Expect(field.Admin.Patch(context.Background(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}},
		client.RawPatch(types.MergePatchType, []byte(patch)))).To(Succeed())
}
