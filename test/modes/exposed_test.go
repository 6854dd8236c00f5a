// SPDX-License-Identifier: Apache-2.0

package modes

import (
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// reportsExposure: a Service in front of etcd is reported as long as the Service exists.
func reportsExposure(t *testing.T) {
	s := beginStory(t)
	nodes := s.createNodes()
	s.startOperator()
	s.createObjects(s.newPolicy())
	s.waitForConditions(s.name, programmed, "Effective=True/AsDeclared")

	door := testbed.Service(s.name, "door", corev1.ServiceTypeNodePort)
	door.Spec.Ports[0].Port = 2379
	s.createObjects(door)
	slice := testbed.EndpointSlice(door, testbed.Endpoint(nodes[0], "192.0.2.200", true))
	s.createObjects(slice)
	s.waitUntilQuiet()
	s.waitForConditions(s.name, "Effective=True/AsDeclared")
	// The endpoints move to a node, and then back.
	s.patchObject(slice, `{"endpoints":[{"addresses":["10.77.0.1"]}]}`)
	s.waitForConditions(s.name, "Effective=False/ForeignService", "Ready=False/ForeignService", "Programmed=True/AsDeclared")
	s.Expect(s.messageOf(s.name, v1alpha1.ConditionEffective)()).To(ContainSubstring(s.name + "/door to component etcd (tcp/2379)"))
	s.patchObject(slice, `{"endpoints":[{"addresses":["192.0.2.200"]}]}`)
	s.waitForConditions(s.name, "Effective=True/AsDeclared")
	s.patchObject(slice, `{"endpoints":[{"addresses":["10.77.0.1"]}]}`)
	s.waitForConditions(s.name, "Effective=False/ForeignService")
	// The type of the Service changes too.
	s.patchObject(door, `{"spec":{"type":"ClusterIP"}}`)
	s.waitForConditions(s.name, "Effective=True/AsDeclared", "Ready=True/AsDeclared")
	s.patchObject(door, `{"spec":{"externalIPs":["198.51.100.7"]}}`)
	s.waitForConditions(s.name, "Effective=False/ForeignService")
	s.Expect(s.messageOf(s.name, v1alpha1.ConditionEffective)()).To(ContainSubstring("Services have externalIPs"))
	s.deleteObject(door)
	s.deleteObject(slice)
	s.waitForConditions(s.name, "Effective=True/AsDeclared")
	s.removePolicy(s.name)
}
