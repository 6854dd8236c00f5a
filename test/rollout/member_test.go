// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"fmt"
	"testing"

	"github.com/cpnp-dev/cpnp-operator/test/field"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
)

// An etcd member sends from an address unknown to Kubernetes. Open failsafe ports
// allow this member, so the rules alone cut no flow. Scoped failsafe ports cut
// the member off, and the node is rolled back before other nodes are started.
func TestLossOfAFlowThroughFailsafePortsRollsTheNodeBack(t *testing.T) {
	f := field.StartCluster(t, calico.IPTables)
	sendFrom(f, "cp-2", "10.77.0.77", "fd77::77")
	f.StartObservers("cp-1", "cp-2")
	f.StartOperator()
	touched, watchman := f.RecordTouchedNodes(), f.WatchAPIServer()
	f.CreatePolicy(f.NewPolicy(field.SoakFor(2), field.EtcdOnly, func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Network.Failsafe = v1alpha1.FailsafeScope }))
	f.WaitForPhases("Reverted/ProbeFailed", "Aborted/RolloutFailed", "Aborted/RolloutFailed")
	f.Expect(field.PhaseMessage("cp-1")).To(MatchRegexp("2379 from cp-2: Open before, Dropped now"))
	scoped := field.EnactmentOf("cp-1").Status
	f.Expect(scoped.FailsafesScopedTime).NotTo(BeNil())
	f.Expect(scoped.FailsafesScopedTime.Sub(scoped.StartTime.Time).Seconds()).To(BeNumerically(">=", 2), "failsafe ports are scoped only after a soak with open failsafe ports")
	f.WaitForReachability(field.EtcdPort, field.OnlyFrom(field.AllClients...))
	f.Eventually(func() []string { return field.ListInventory(t) }, field.Patience, field.Tick).ShouldNot(ContainElement(Or(
		HavePrefix("HostEndpoint/cpnp-"), HavePrefix("FelixConfiguration/node."))))
	f.WaitForCondition(v1alpha1.ConditionReady, "False/"+v1alpha1.ReasonRolloutFailed)
	f.Expect(touched()).To(Equal("cp-1"), "the other nodes were never touched")
	f.Expect(watchman.StopWatching()).To(BeEmpty())

	t.Log("the node stays enforced once the member is a declared peer")
	f.UpdatePolicy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) {
		s.Network.Peers = []v1alpha1.Peer{{Name: "members", Role: v1alpha1.ExternalControlPlane, CIDRs: []v1alpha1.CIDR{"10.77.0.77/32", "fd77::77/128"}}}
	})
	f.WaitForPhases("Enforced/Proven", "Enforced/Unproven", "Enforced/Unproven")
	f.WaitForReachability(field.EtcdPort, field.OnlyFrom("cp-2", "itself", "loopback"))
	f.WaitForCondition(v1alpha1.ConditionReady, "True/AsDeclared")
}

// sendFrom makes a node send from other addresses than Kubernetes shows.
func sendFrom(f *field.Field, node, ipv4, ipv6 string) {
	f.T.Helper()
	commands := fmt.Sprintf(`address add %[1]s/24 dev eth0
address add %[2]s/64 dev eth0 nodad
route replace 10.77.0.0/24 dev eth0 src %[1]s
route replace fd77::/64 dev eth0 src %[2]s
`, ipv4, ipv6)
	_, err := f.Cluster.Machine(node).Input(f.T.Context(), commands, "ip", "-batch", "-")
	f.Expect(err).NotTo(HaveOccurred())
}
