// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"testing"

	"github.com/cpnp-dev/cpnp-operator/test/field"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
)

// From the policy to the packets: etcd and the kubelet are reached by the
// control plane only, once the failsafe ports are narrowed; before, the status
// says that the restriction of etcd is void. Without the policy all is open
// again.
func TestThePolicyProtectsHosts(t *testing.T) {
	for _, backend := range []calico.Backend{calico.IPTables, calico.NFTables} {
		t.Run(string(backend), func(t *testing.T) {
			f := field.Enter(t, backend)
			f.QuickOperator()
			for _, port := range []uint16{field.EtcdPort, field.KubeletPort, field.OtherPort} {
				f.Expect(f.Reaches(port)).To(Equal(field.Only(field.Everybody...)), "before the policy, port %d", port)
			}
			f.Create(f.Policy())
			f.Becomes(field.KubeletPort, field.Only("cp-2", "itself", "loopback"))
			f.Reports(v1alpha1.ConditionProgrammed, "True/AsDeclared")
			f.Reports(v1alpha1.ConditionEffective, "False/FailsafePorts")
			f.Expect(field.Message(v1alpha1.ConditionEffective)).To(And(ContainSubstring("2379"), ContainSubstring("etcd"), ContainSubstring("Scope")))
			f.Expect(f.Reaches(field.EtcdPort)).To(Equal(field.Only(field.Everybody...)), "a failsafe port, whatever the policy says")

			f.Update(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Network.Failsafe = v1alpha1.FailsafeScope })
			f.Becomes(field.EtcdPort, field.Only("cp-2", "itself", "loopback"))
			f.Reports(v1alpha1.ConditionReady, "True/AsDeclared")
			f.Expect(f.Reaches(field.OtherPort)).To(Equal(field.Only(field.Everybody...)), "no component's port")

			f.Remove()
			for _, port := range []uint16{field.EtcdPort, field.KubeletPort, field.OtherPort} {
				f.Becomes(port, field.Only(field.Everybody...))
			}
		})
	}
}
