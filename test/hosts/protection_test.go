// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"testing"

	"github.com/cpnp-dev/cpnp-operator/test/field"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
)

// A policy is followed to the packets: only the control plane reaches etcd and the kubelet,
// once the failsafe ports are scoped. Before, the status reports that the restriction of
// etcd is void. Without the policy all ports are open again.
func TestThePolicyProtectsHosts(t *testing.T) {
	for _, backend := range []calico.Backend{calico.IPTables, calico.NFTables} {
		t.Run(string(backend), func(t *testing.T) {
			f := field.StartCluster(t, backend)
			f.StartQuickOperator()
			for _, port := range []uint16{field.EtcdPort, field.KubeletPort, field.OtherPort} {
				f.Expect(f.ReachabilityOf(port)).To(Equal(field.OnlyFrom(field.AllClients...)), "before the policy, port %d", port)
			}
			f.CreatePolicy(f.NewPolicy())
			f.WaitForReachability(field.KubeletPort, field.OnlyFrom("cp-2", "itself", "loopback"))
			f.WaitForCondition(v1alpha1.ConditionProgrammed, "True/AsDeclared")
			f.WaitForCondition(v1alpha1.ConditionEffective, "False/FailsafePorts")
			f.Expect(field.ConditionMessage(v1alpha1.ConditionEffective)).To(And(ContainSubstring("2379"), ContainSubstring("etcd"), ContainSubstring("Scope")))
			f.Expect(f.ReachabilityOf(field.EtcdPort)).To(Equal(field.OnlyFrom(field.AllClients...)), "failsafe ports override the policy")

			f.UpdatePolicy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Network.Failsafe = v1alpha1.FailsafeScope })
			f.WaitForReachability(field.EtcdPort, field.OnlyFrom("cp-2", "itself", "loopback"))
			f.WaitForCondition(v1alpha1.ConditionReady, "True/AsDeclared")
			f.Expect(f.ReachabilityOf(field.OtherPort)).To(Equal(field.OnlyFrom(field.AllClients...)), "a port of no component")

			f.RemovePolicy()
			for _, port := range []uint16{field.EtcdPort, field.KubeletPort, field.OtherPort} {
				f.WaitForReachability(port, field.OnlyFrom(field.AllClients...))
			}
		})
	}
}
