// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"testing"

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
			f := enter(t, backend)
			f.operator()
			for _, port := range []uint16{etcdPort, kubeletPort, otherPort} {
				f.Expect(f.reaches(port)).To(Equal(only(everybody...)), "before the policy, port %d", port)
			}
			f.create(f.policy())
			f.becomes(kubeletPort, only("cp-2", "itself", "loopback"))
			f.reports(v1alpha1.ConditionProgrammed, "True/Programmed")
			f.reports(v1alpha1.ConditionEffective, "False/FailsafePorts")
			f.Expect(message(v1alpha1.ConditionEffective)).To(And(ContainSubstring("2379"), ContainSubstring("etcd"), ContainSubstring("Scope")))
			f.Expect(f.reaches(etcdPort)).To(Equal(only(everybody...)), "a failsafe port, whatever the policy says")

			f.update(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Network.Failsafe = v1alpha1.FailsafeScope })
			f.becomes(etcdPort, only("cp-2", "itself", "loopback"))
			f.reports(v1alpha1.ConditionReady, "True/AsDeclared")
			f.Expect(f.reaches(otherPort)).To(Equal(only(everybody...)), "no component's port")

			f.remove()
			for _, port := range []uint16{etcdPort, kubeletPort, otherPort} {
				f.becomes(port, only(everybody...))
			}
		})
	}
}
