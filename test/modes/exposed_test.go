// SPDX-License-Identifier: Apache-2.0

package modes

import (
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// exposedByService: a Service in front of etcd is told as long as it is there.
func exposedByService(t *testing.T) {
	s := begin(t)
	nodes := s.nodes()
	s.operator()
	s.create(s.policy())
	s.says(s.name, programmed, "Effective=True/AsDeclared")

	door := testbed.Service(s.name, "door", corev1.ServiceTypeNodePort)
	door.Spec.Ports[0].Port = 2379
	s.create(door)
	slice := testbed.EndpointSlice(door, testbed.Endpoint(nodes[0], "192.0.2.200", true))
	s.create(slice)
	s.quiet()
	s.says(s.name, "Effective=True/AsDeclared")
	// Its endpoints move to a node, and then back.
	s.patch(slice, `{"endpoints":[{"addresses":["10.77.0.1"]}]}`)
	s.says(s.name, "Effective=False/ForeignService", "Ready=False/ForeignService", "Programmed=True/AsDeclared")
	s.Expect(s.message(s.name, v1alpha1.ConditionEffective)()).To(ContainSubstring(s.name + "/door to component etcd (tcp/2379)"))
	s.patch(slice, `{"endpoints":[{"addresses":["192.0.2.200"]}]}`)
	s.says(s.name, "Effective=True/AsDeclared")
	s.patch(slice, `{"endpoints":[{"addresses":["10.77.0.1"]}]}`)
	s.says(s.name, "Effective=False/ForeignService")
	// So does its type.
	s.patch(door, `{"spec":{"type":"ClusterIP"}}`)
	s.says(s.name, "Effective=True/AsDeclared", "Ready=True/AsDeclared")
	s.patch(door, `{"spec":{"externalIPs":["198.51.100.7"]}}`)
	s.says(s.name, "Effective=False/ForeignService")
	s.Expect(s.message(s.name, v1alpha1.ConditionEffective)()).To(ContainSubstring("Services have externalIPs"))
	s.delete(door)
	s.delete(slice)
	s.says(s.name, "Effective=True/AsDeclared")
	s.remove(s.name)
}
