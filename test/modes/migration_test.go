// SPDX-License-Identifier: Apache-2.0

package modes

import (
	"testing"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	render "github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
)

// setMigrationPhase creates a migration of the datastore in the given phase.
func (s *story) setMigrationPhase(phase string) {
	s.t.Helper()
	const definition = "../calicowatch/testdata/datastoremigrations.yaml"
	_, err := envtest.InstallCRDs(cluster.Config, envtest.CRDInstallOptions{Paths: []string{definition}, ErrorIfPathMissing: true})
	s.Expect(err).NotTo(HaveOccurred())
	object := &unstructured.Unstructured{}
	object.SetAPIVersion("migration.projectcalico.org/v1beta1")
	object.SetKind("DatastoreMigration")
	object.SetName("v1-to-v3")
	s.Eventually(func() error {
		if err := admin.Create(s.ctx, object.DeepCopy()); client.IgnoreAlreadyExists(err) != nil {
			return err
		}
		if err := admin.Get(s.ctx, client.ObjectKeyFromObject(object), object); err != nil {
			return err
		}
		object.Object["status"] = map[string]any{"phase": phase}
		return admin.Status().Update(s.ctx, object)
	}).Should(Succeed())
}

// waitsForMigration: during a migration of the datastore, no Calico object is written,
// despite changes by other users, and undeclared objects are not deleted. All delayed
// writes follow after the migration.
func waitsForMigration(t *testing.T) {
	s := beginStory(t)
	before := s.listInventory()
	nodes := s.createNodes()
	s.startOperator()
	s.createObjects(s.newPolicy())
	s.waitForConditions(s.name, programmed)
	kubelet := s.partName(s.name, "deny-kubelet")

	s.setMigrationPhase("Migrating")
	s.waitUntilUnprotected(s.name, "CalicoUnavailable", "DatastoreMigration v1-to-v3 is in phase Migrating", "the operator writes nothing")
	s.Expect(textOfCount(s.getPolicy(s.name).Status.HostPolicies)).To(Equal("15/15"), "as before")
	mark := s.markAuditLog()
	s.deleteObject(&v3.GlobalNetworkPolicy{ObjectMeta: metaNamed(kubelet)})
	s.expectNoCalicoWrites(mark, moment)

	s.setMigrationPhase("Complete")
	s.waitForConditions(s.name, programmed)
	s.Eventually(s.listInventory).Should(ContainElement("GlobalNetworkPolicy/" + kubelet))
	s.Eventually(func() *v1alpha1.Drift { return s.getPolicy(s.name).Status.LastDrift }).Should(And(Not(BeNil()),
		HaveField("Name", kubelet), HaveField("Cause", v1alpha1.CauseMissing)))

	t.Log("hosts are no longer declared")
	s.setMigrationPhase("Migrating")
	s.waitUntilUnprotected(s.name, "CalicoUnavailable")
	mark = s.markAuditLog()
	s.editPolicy(s.name, func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) { spec.Network = nil })
	s.waitForConditions(s.name, programmed)
	s.expectNoCalicoWrites(mark, moment)
	s.Expect(s.listInventory()).To(ContainElements(s.completeInventory(s.name, nodes...)))
	s.setMigrationPhase("Complete")
	s.Eventually(s.listInventory).Should(Equal(before))
	s.Eventually(s.enactmentsOf(s.name)).Should(BeEmpty())
	s.removePolicy(s.name)
}

// releasesHosts: undeclared Calico objects are deleted.
func releasesHosts(t *testing.T) {
	s := beginStory(t)
	before := s.listInventory()
	nodes := s.createNodes()
	s.startOperator()
	s.createObjects(s.newPolicy())
	s.waitForConditions(s.name, programmed)

	s.editPolicy(s.name, func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) {
		spec.Network.HostBackend = v1alpha1.HostBackendNone
	})
	s.waitUntilUnprotected(s.name, "HostBackendNone", "nothing protects the components on nodes")
	s.Eventually(s.listInventory).Should(Equal(before))
	s.Eventually(s.enactmentsOf(s.name)).Should(BeEmpty(), "former enactments are not used again")
	s.Expect(textOfCount(s.getPolicy(s.name).Status.HostPolicies)).To(Equal("0/0"))

	t.Log("a younger policy may protect the same nodes")
	younger := s.newPolicy(func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) {
		spec.Network.Components, spec.Taints = spec.Network.Components[:2], nil
	})
	younger.Name += "-younger"
	s.createObjects(younger)
	s.waitForConditions(younger.Name, programmed)
	s.Expect(s.listInventory()).To(ContainElements(s.completeInventory(younger.Name, nodes...)))

	t.Log("until the older policy protects these nodes")
	s.editPolicy(s.name, func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) {
		spec.Network.HostBackend = v1alpha1.HostBackendCalico
	})
	s.waitForConditions(younger.Name, "Accepted=False/Conflicted", "Ready=False/Conflicted")
	s.Eventually(s.enactmentsOf(younger.Name)).Should(BeEmpty())
	s.Expect(s.messageOf(younger.Name, v1alpha1.ConditionAccepted)()).To(ContainSubstring(
		"the protection of node " + nodes[0] + " is claimed by " + s.name))
	s.waitForConditions(s.name, programmed)
	s.Eventually(func() string {
		endpoint := &v3.HostEndpoint{}
		_ = admin.Get(s.ctx, client.ObjectKey{Name: render.EndpointName(nodes[0], "")}, endpoint)
		return endpoint.Labels[v1alpha1.LabelPolicy]
	}).Should(Equal(s.name), "the endpoint has changed hands")
	s.waitUntilQuiet()

	s.removePolicy(s.name)
	s.waitForConditions(younger.Name, programmed)
	s.Expect(s.listInventory()).To(ContainElements(s.completeInventory(younger.Name, nodes...)))
	s.removePolicy(younger.Name)
	s.Expect(s.listInventory()).To(Equal(before))
}
