// SPDX-License-Identifier: Apache-2.0

package system

import (
	"testing"

	. "github.com/onsi/gomega"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// etcd returns a component whose only peers are the control plane's nodes.
func (s *story) etcd() v1alpha1.Component {
	component := s.coredns()
	component.Name = "etcd"
	component.Ports = []v1alpha1.Port{{Protocol: "TCP", Port: 2379}}
	component.AllowFrom = []v1alpha1.PeerReference{{Role: v1alpha1.RoleControlPlane}}
	return component
}

func (s *story) peersOf(policy networkingv1.NetworkPolicy) []string {
	var peers []string
	for _, rule := range policy.Spec.Ingress {
		for _, from := range rule.From {
			if from.IPBlock != nil {
				peers = append(peers, from.IPBlock.CIDR)
			} else {
				peers = append(peers, "pods")
			}
		}
	}
	return peers
}

// The API server is advertised on an address that is no node's, and belongs to the
// control plane all the same.
const advertised = "192.0.2.1/32"

func TestPeersFollowTheNodes(t *testing.T) {
	s := begin(t)
	nodes := s.nodes(2)
	policy := s.policy()
	policy.Spec.Network.Components[0] = s.etcd()
	s.create(policy)
	s.operator()
	s.ready(s.name)
	peers := func() []string { return s.peersOf(s.networkPolicies()[0]) }
	s.Expect(peers()).To(ConsistOf("10.77.0.11/32", "10.77.0.12/32", advertised))

	s.join("10.77.0.13")
	s.Eventually(peers).Should(ConsistOf("10.77.0.11/32", "10.77.0.12/31", advertised), "adjacent addresses become one network")
	s.Expect(admin.Delete(s.ctx, s.node(nodes[0]))).To(Succeed())
	s.Eventually(peers).Should(ConsistOf("10.77.0.12/31", advertised))
	node := s.node(nodes[1])
	s.Expect(admin.SubResource("status").Patch(s.ctx, node, client.RawPatch("application/merge-patch+json",
		[]byte(`{"status":{"addresses":[{"type":"InternalIP","address":"10.77.0.50"},{"type":"InternalIP","address":"fd00::50"}]}}`)))).To(Succeed())
	s.Eventually(peers).Should(ConsistOf("10.77.0.13/32", "10.77.0.50/32", "fd00::50/128", advertised))
	s.ready(s.name)
	s.Expect(s.get(s.name).Status.LastDrift).To(BeNil(), "nodes that come and go are no drift")
}

// When the peers stand for nobody, the last good state stays.
func TestAllowFromNobodyIsNeverWritten(t *testing.T) {
	s := begin(t)
	node := s.nodes(1)[0]
	policy := s.policy()
	policy.Spec.Network.Components[0] = s.etcd()
	s.create(policy)
	s.operator()
	s.ready(s.name)
	before := s.networkPolicies()[0]

	s.Expect(admin.SubResource("status").Patch(s.ctx, s.node(node), client.RawPatch("application/merge-patch+json",
		[]byte(`{"status":{"addresses":[]}}`)))).To(Succeed())
	s.Eventually(s.condition(s.name, v1alpha1.ConditionVerified)).Should(Equal("False/AddressesUnknown"))
	s.Expect(s.message(s.name, v1alpha1.ConditionVerified)).To(ContainSubstring("role ControlPlane"))
	s.Expect(s.networkPolicies()).To(ConsistOf(HaveField("ResourceVersion", before.ResourceVersion)))
}

func TestHostNetworkedPodsAreReported(t *testing.T) {
	s := begin(t)
	node := s.nodes(1)[0]
	s.create(s.policy())
	s.operator()
	s.ready(s.name)
	s.create(testbed.Pod(s.name, "evader", testbed.OnNode(node), testbed.HostNetwork(), testbed.PodLabels(map[string]string{"k8s-app": "kube-dns"})))
	s.Eventually(s.condition(s.name, v1alpha1.ConditionEffective)).Should(Equal("False/BypassPossible"))
	s.Expect(s.message(s.name, v1alpha1.ConditionEffective)).To(ContainSubstring(s.name + "/evader"))
	s.Expect(s.condition(s.name, v1alpha1.ConditionReady)()).To(Equal("False/BypassPossible"))
	pod := s.pod("evader")()
	s.Expect(admin.Delete(s.ctx, pod, client.GracePeriodSeconds(0))).To(Succeed())
	s.ready(s.name)
}
