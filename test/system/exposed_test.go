// SPDX-License-Identifier: Apache-2.0

package system

import (
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// A NodePort in front of pods to which nodes may connect lets all clients in.
func TestServiceInFrontOfAComponentIsNamed(t *testing.T) {
	s := beginStory(t)
	nodes := s.createNodes(2)
	policy := s.newPolicy()
	policy.Spec.Taints, policy.Spec.Services = nil, nil
	policy.Spec.Network.Components[0].Ports = []v1alpha1.Port{{Protocol: "TCP", Port: 80}}
	s.createObjects(policy)
	s.startOperator()
	s.waitUntilReady(s.name)

	door := testbed.Service(s.name, "door", corev1.ServiceTypeNodePort, testbed.Selector(map[string]string{"k8s-app": "kube-dns"}))
	slice := testbed.EndpointSlice(door, testbed.Endpoint(nodes[0], "10.1.0.9", true))
	s.createObjects(door, slice)
	s.Eventually(s.conditionOf(s.name, v1alpha1.ConditionEffective)).Should(Equal("False/ForeignService"))
	s.Expect(s.messageOf(s.name, v1alpha1.ConditionReady)).To(ContainSubstring(s.name + "/door to component coredns (tcp/80)"))

	// With the client's address preserved, the NetworkPolicy decides.
	s.patchObject(door, "admin", `{"spec":{"externalTrafficPolicy":"Local"}}`)
	s.waitUntilReady(s.name)
	s.patchObject(door, "admin", `{"spec":{"externalTrafficPolicy":"Cluster"}}`)
	s.Eventually(s.conditionOf(s.name, v1alpha1.ConditionReady)).Should(Equal("False/ForeignService"))
	s.Expect(s.admin.Delete(s.ctx, door)).To(Succeed())
	s.waitUntilReady(s.name)

	// External addresses are reported, and are no fault by themselves.
	plain := testbed.Service(s.name, "plain", corev1.ServiceTypeClusterIP)
	plain.Spec.ExternalIPs = []string{"198.51.100.7"}
	s.createObjects(plain)
	s.Eventually(func() string { return s.messageOf(s.name, v1alpha1.ConditionEffective) }).Should(And(
		ContainSubstring(s.name+"/plain"), ContainSubstring("DenyServiceExternalIPs")))
	s.waitUntilReady(s.name)
}
