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

// etcdComponent returns a component whose only peers are the control-plane nodes.
func (s *story) etcdComponent() v1alpha1.Component {
	component := s.corednsComponent()
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

// The API server is advertised on an address of no node, and still belongs to the control
// plane.
const advertised = "192.0.2.1/32"

func TestPeersFollowTheNodes(t *testing.T) {
	s := beginStory(t)
	nodes := s.createNodes(2)
	policy := s.newPolicy()
	policy.Spec.Network.Components[0] = s.etcdComponent()
	s.createObjects(policy)
	s.startOperator()
	s.waitUntilReady(s.name)
	peers := func() []string { return s.peersOf(s.networkPolicies()[0]) }
	s.Expect(peers()).To(ConsistOf("10.77.0.11/32", "10.77.0.12/32", advertised))

	s.joinNode("10.77.0.13")
	s.Eventually(peers).Should(ConsistOf("10.77.0.11/32", "10.77.0.12/31", advertised), "adjacent addresses become one network")
	s.Expect(s.admin.Delete(s.ctx, s.getNode(nodes[0]))).To(Succeed())
	s.Eventually(peers).Should(ConsistOf("10.77.0.12/31", advertised))
	node := s.getNode(nodes[1])
	s.Expect(s.admin.SubResource("status").Patch(s.ctx, node, client.RawPatch("application/merge-patch+json",
		[]byte(`{"status":{"addresses":[{"type":"InternalIP","address":"10.77.0.50"},{"type":"InternalIP","address":"fd00::50"}]}}`)))).To(Succeed())
	s.Eventually(peers).Should(ConsistOf("10.77.0.13/32", "10.77.0.50/32", "fd00::50/128", advertised))
	s.waitUntilReady(s.name)
	s.Expect(s.getPolicy(s.name).Status.LastDrift).To(BeNil(), "joining and leaving nodes are no drift")
}

// When the peers have no addresses, the last good state stays.
func TestAllowFromNobodyIsNeverWritten(t *testing.T) {
	s := beginStory(t)
	node := s.createNodes(1)[0]
	policy := s.newPolicy()
	policy.Spec.Network.Components[0] = s.etcdComponent()
	s.createObjects(policy)
	s.startOperator()
	s.waitUntilReady(s.name)
	before := s.networkPolicies()[0]

	s.Expect(s.admin.SubResource("status").Patch(s.ctx, s.getNode(node), client.RawPatch("application/merge-patch+json",
		[]byte(`{"status":{"addresses":[]}}`)))).To(Succeed())
	s.Eventually(s.conditionOf(s.name, v1alpha1.ConditionVerified)).Should(Equal("False/AddressesUnknown"))
	s.Expect(s.messageOf(s.name, v1alpha1.ConditionVerified)).To(ContainSubstring("role ControlPlane"))
	s.Expect(s.networkPolicies()).To(ConsistOf(HaveField("ResourceVersion", before.ResourceVersion)))
}

func TestHostNetworkedPodsAreReported(t *testing.T) {
	s := beginStory(t)
	node := s.createNodes(1)[0]
	s.createObjects(s.newPolicy())
	s.startOperator()
	s.waitUntilReady(s.name)
	s.createObjects(testbed.Pod(s.name, "evader", testbed.OnNode(node), testbed.HostNetwork(), testbed.PodLabels(map[string]string{"k8s-app": "kube-dns"})))
	s.Eventually(s.conditionOf(s.name, v1alpha1.ConditionEffective)).Should(Equal("False/BypassPossible"))
	s.Expect(s.messageOf(s.name, v1alpha1.ConditionEffective)).To(ContainSubstring(s.name + "/evader"))
	s.Expect(s.conditionOf(s.name, v1alpha1.ConditionReady)()).To(Equal("False/BypassPossible"))
	pod := s.getPod("evader")()
	s.Expect(s.admin.Delete(s.ctx, pod, client.GracePeriodSeconds(0))).To(Succeed())
	s.waitUntilReady(s.name)
}
