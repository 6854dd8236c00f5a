// SPDX-License-Identifier: Apache-2.0

package leaving

import (
	"testing"

	"github.com/cpnp-dev/cpnp-operator/test/field"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	testcalico "github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
)

// Nobody knows how far nodes were of which the record is gone. They keep what they
// have, and are tried one by one, each by what it reaches without the rules.
func TestNodesWithoutARecordAreTriedOneByOne(t *testing.T) {
	f := field.Enter(t, testcalico.IPTables)
	f.Observers("cp-1", "cp-2")
	f.Operator()
	f.Create(f.Policy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Network.Failsafe = v1alpha1.FailsafeScope }))
	f.Reports(v1alpha1.ConditionReady, "True/AsDeclared")

	f.Update(field.Soak(2))
	f.Reports(v1alpha1.ConditionReady, "True/AsDeclared")
	tried := version(f, "cp-1")
	f.Kubectl("delete controlplanenodeenactments.cpnp.dev --all")
	f.Eventually(field.Phase("cp-1"), field.Patience, field.Tick).Should(HavePrefix("Progressing/"), field.Enactments)
	f.Expect(field.EnactmentOf("cp-1").Status.Baseline).NotTo(BeEmpty(), "it was asked what it reaches")
	for _, node := range []string{"cp-2", "cp-3"} {
		f.Expect(field.Phase(node)()).To(Equal("Pending/Queued"))
		f.Expect(field.EnactmentOf(node).Status.AdoptedTime).NotTo(BeNil())
		f.Expect(version(f, node)).To(Equal(tried), "what is found stays until its turn")
		f.Expect(narrow(f, node)).To(BeFalse(), "but not narrow failsafe ports: to widen them cuts nothing")
	}
	f.Phases("Enforced/Proven", "Enforced/Unproven", "Enforced/Unproven")
	f.Expect(narrow(f, "cp-1")).To(BeTrue())
	f.Becomes(field.EtcdPort, field.Only("cp-2", "itself", "loopback"))
	f.Reports(v1alpha1.ConditionReady, "True/AsDeclared")
}

// narrow says whether a node has narrow failsafe ports.
func narrow(f *field.Field, node string) bool {
	f.T.Helper()
	felix := &v3.FelixConfiguration{}
	f.Expect(client.IgnoreNotFound(field.Admin.Get(f.T.Context(), client.ObjectKey{Name: calico.FelixConfigurationName(node)}, felix))).To(Succeed())
	return felix.Spec.FailsafeInboundHostPorts != nil
}

// version is that of the rules that a node has.
func version(f *field.Field, node string) string {
	f.T.Helper()
	endpoint := &v3.HostEndpoint{}
	f.Expect(field.Admin.Get(f.T.Context(), client.ObjectKey{Name: calico.EndpointName(node, "")}, endpoint)).To(Succeed())
	return endpoint.Labels[calico.LabelVersion]
}

// A policy that goes and leaves its rules behind leaves none that were still being
// tried: nobody would take them back.
func TestRulesOnTrialAreNotOrphaned(t *testing.T) {
	f := field.Enter(t, testcalico.IPTables)
	f.Operator()
	orphan := func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.DeletionPolicy = v1alpha1.DeletionOrphan }
	f.Create(f.Policy(orphan, field.Soak(600)))
	f.Phases("Progressing/Soaking", "Pending/Queued", "Pending/Queued")
	f.Becomes(field.KubeletPort, field.Only("cp-2", "itself", "loopback"))
	f.Remove()
	f.Becomes(field.KubeletPort, field.Only(field.Everybody...))
	f.Expect(field.Inventory(t)).NotTo(ContainElement(HavePrefix("HostEndpoint/")))

	t.Log("what had been tried before stays")
	f.Create(f.Policy(orphan))
	f.Phases("Enforced/Unproven", "Enforced/Unproven", "Enforced/Unproven")
	tried := version(f, "cp-1")
	f.Update(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) {
		field.KubeletOnly(s)
		field.Soak(600)(s)
	})
	f.Phases("Progressing/Soaking", "Pending/Queued", "Pending/Queued")
	f.Expect(version(f, "cp-1")).NotTo(Equal(tried))
	f.Remove()
	f.Expect(version(f, "cp-1")).To(Equal(tried))
	f.Becomes(field.KubeletPort, field.Only("cp-2", "itself", "loopback"))
	f.Create(f.Policy())
	f.Phases("Enforced/Unproven", "Enforced/Unproven", "Enforced/Unproven")
	f.Remove()
	f.Becomes(field.KubeletPort, field.Only(field.Everybody...))
}
