// SPDX-License-Identifier: Apache-2.0

package system

import (
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// A NodePort in front of pods that nodes may connect to lets everybody in.
func TestServiceInFrontOfAComponentIsNamed(t *testing.T) {
	s := begin(t)
	nodes := s.nodes(2)
	policy := s.policy()
	policy.Spec.Taints, policy.Spec.Services = nil, nil
	policy.Spec.Network.Components[0].Ports = []v1alpha1.Port{{Protocol: "TCP", Port: 80}}
	s.create(policy)
	s.operator()
	s.ready(s.name)

	door := testbed.Service(s.name, "door", corev1.ServiceTypeNodePort, testbed.Selector(map[string]string{"k8s-app": "kube-dns"}))
	slice := testbed.EndpointSlice(door, testbed.Endpoint(nodes[0], "10.1.0.9", true))
	s.create(door, slice)
	s.Eventually(s.condition(s.name, v1alpha1.ConditionEffective)).Should(Equal("False/ForeignService"))
	s.Expect(s.message(s.name, v1alpha1.ConditionReady)).To(ContainSubstring(s.name + "/door to component coredns (tcp/80)"))

	// With the client's address, its NetworkPolicy decides.
	s.patch(door, "admin", `{"spec":{"externalTrafficPolicy":"Local"}}`)
	s.ready(s.name)
	s.patch(door, "admin", `{"spec":{"externalTrafficPolicy":"Cluster"}}`)
	s.Eventually(s.condition(s.name, v1alpha1.ConditionReady)).Should(Equal("False/ForeignService"))
	s.Expect(admin.Delete(s.ctx, door)).To(Succeed())
	s.ready(s.name)

	// External addresses are told, and no fault by themselves.
	plain := testbed.Service(s.name, "plain", corev1.ServiceTypeClusterIP)
	plain.Spec.ExternalIPs = []string{"198.51.100.7"}
	s.create(plain)
	s.Eventually(func() string { return s.message(s.name, v1alpha1.ConditionEffective) }).Should(And(
		ContainSubstring(s.name+"/plain"), ContainSubstring("DenyServiceExternalIPs")))
	s.ready(s.name)
}
