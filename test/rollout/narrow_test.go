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

// A member of etcd that sends from an address which Kubernetes does not show is let
// in by failsafe ports, for as long as they are wide: with the rules alone nothing is
// lost. Once they are narrow it is shut out; and that takes the node back, before
// the others are begun.
func TestWhatOnlyFailsafePortsLetInTakesTheNodeBack(t *testing.T) {
	f := field.Enter(t, calico.IPTables)
	sendFrom(f, "cp-2", "10.77.0.77", "fd77::77")
	f.Observers("cp-1", "cp-2")
	f.Operator()
	touched, watchman := f.Touched(), f.WatchAPIServer()
	f.Create(f.Policy(field.Soak(2), field.EtcdOnly, func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Network.Failsafe = v1alpha1.FailsafeScope }))
	f.Phases("Reverted/ProbeFailed", "Aborted/RolloutFailed", "Aborted/RolloutFailed")
	f.Expect(field.Told("cp-1")).To(MatchRegexp("2379 from cp-2: Open before, Dropped now"))
	narrowed := field.EnactmentOf("cp-1").Status
	f.Expect(narrowed.FailsafesScopedTime).NotTo(BeNil())
	f.Expect(narrowed.FailsafesScopedTime.Sub(narrowed.StartTime.Time).Seconds()).To(BeNumerically(">=", 2), "only after it has soaked without")
	f.Becomes(field.EtcdPort, field.Only(field.Everybody...))
	f.Eventually(func() []string { return field.Inventory(t) }, field.Patience, field.Tick).ShouldNot(ContainElement(Or(
		HavePrefix("HostEndpoint/cpnp-"), HavePrefix("FelixConfiguration/node."))))
	f.Reports(v1alpha1.ConditionReady, "False/"+v1alpha1.ReasonRolloutFailed)
	f.Expect(touched()).To(Equal("cp-1"), "the others were never touched")
	f.Expect(watchman.Stop()).To(BeEmpty())

	t.Log("let in as a peer of the control plane, it stays")
	f.Update(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) {
		s.Network.Peers = []v1alpha1.Peer{{Name: "members", Role: v1alpha1.ExternalControlPlane, CIDRs: []v1alpha1.CIDR{"10.77.0.77/32", "fd77::77/128"}}}
	})
	f.Phases("Enforced/Proven", "Enforced/Unproven", "Enforced/Unproven")
	f.Becomes(field.EtcdPort, field.Only("cp-2", "itself", "loopback"))
	f.Reports(v1alpha1.ConditionReady, "True/AsDeclared")
}

// sendFrom has a node send from other addresses than those that it shows.
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
