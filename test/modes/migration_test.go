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

// migrationPhase has a migration of the datastore be under way in this phase.
func (s *story) migrationPhase(phase string) {
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

// migration: while the datastore is migrated nothing of Calico is written,
// whatever others change, and what is no longer declared is not taken away. All
// of it follows.
func migration(t *testing.T) {
	s := begin(t)
	before := s.inventory()
	nodes := s.nodes()
	s.operator()
	s.create(s.policy())
	s.says(s.name, programmed)
	kubelet := s.part(s.name, "deny-kubelet")

	s.migrationPhase("Migrating")
	s.unprotected(s.name, "CalicoUnavailable", "DatastoreMigration v1-to-v3 is in phase Migrating", "the operator writes nothing")
	s.Expect(counts(s.get(s.name).Status.HostPolicies)).To(Equal("15/15"), "as it was")
	mark := s.mark()
	s.delete(&v3.GlobalNetworkPolicy{ObjectMeta: named(kubelet)})
	s.leavesCalicoAlone(mark, moment)

	s.migrationPhase("Complete")
	s.says(s.name, programmed)
	s.Eventually(s.inventory).Should(ContainElement("GlobalNetworkPolicy/" + kubelet))
	s.Eventually(func() *v1alpha1.Drift { return s.get(s.name).Status.LastDrift }).Should(And(Not(BeNil()),
		HaveField("Name", kubelet), HaveField("Cause", v1alpha1.CauseMissing)))

	t.Log("hosts are not declared any more")
	s.migrationPhase("Migrating")
	s.unprotected(s.name, "CalicoUnavailable")
	mark = s.mark()
	s.edit(s.name, func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) { spec.Network = nil })
	s.says(s.name, programmed)
	s.leavesCalicoAlone(mark, moment)
	s.Expect(s.inventory()).To(ContainElements(s.whole(s.name, nodes...)))
	s.migrationPhase("Complete")
	s.Eventually(s.inventory).Should(Equal(before))
	s.Eventually(s.enactments(s.name)).Should(BeEmpty())
	s.remove(s.name)
}

// released: what somebody no longer wants of Calico is taken away.
func released(t *testing.T) {
	s := begin(t)
	before := s.inventory()
	nodes := s.nodes()
	s.operator()
	s.create(s.policy())
	s.says(s.name, programmed)

	s.edit(s.name, func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) {
		spec.Network.HostBackend = v1alpha1.HostBackendNone
	})
	s.unprotected(s.name, "HostBackendNone", "nothing protects the components on nodes")
	s.Eventually(s.inventory).Should(Equal(before))
	s.Eventually(s.enactments(s.name)).Should(BeEmpty(), "what was, is not taken up again")
	s.Expect(counts(s.get(s.name).Status.HostPolicies)).To(Equal("0/0"))

	t.Log("a younger one may protect the same nodes")
	younger := s.policy(func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) {
		spec.Network.Components, spec.Taints = spec.Network.Components[:2], nil
	})
	younger.Name += "-younger"
	s.create(younger)
	s.says(younger.Name, programmed)
	s.Expect(s.inventory()).To(ContainElements(s.whole(younger.Name, nodes...)))

	t.Log("until the older one does")
	s.edit(s.name, func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) {
		spec.Network.HostBackend = v1alpha1.HostBackendCalico
	})
	s.says(younger.Name, "Accepted=False/Conflicted", "Ready=False/Conflicted")
	s.Eventually(s.enactments(younger.Name)).Should(BeEmpty())
	s.Expect(s.message(younger.Name, v1alpha1.ConditionAccepted)()).To(ContainSubstring(
		"the protection of node " + nodes[0] + " is claimed by " + s.name))
	s.says(s.name, programmed)
	s.Eventually(func() string {
		endpoint := &v3.HostEndpoint{}
		_ = admin.Get(s.ctx, client.ObjectKey{Name: render.EndpointName(nodes[0], "")}, endpoint)
		return endpoint.Labels[v1alpha1.LabelPolicy]
	}).Should(Equal(s.name), "the endpoint has changed hands")
	s.quiet()

	s.remove(s.name)
	s.says(younger.Name, programmed)
	s.Expect(s.inventory()).To(ContainElements(s.whole(younger.Name, nodes...)))
	s.remove(younger.Name)
	s.Expect(s.inventory()).To(Equal(before))
}
