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

// Without an enactment, the progress of a node is unknown. Such nodes keep the rules, and
// are tried in turn, with a baseline taken without rules.
func TestNodesWithoutARecordAreTriedOneByOne(t *testing.T) {
	f := field.StartCluster(t, testcalico.IPTables)
	f.StartObservers("cp-1", "cp-2")
	f.StartOperator()
	f.CreatePolicy(f.NewPolicy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Network.Failsafe = v1alpha1.FailsafeScope }))
	f.WaitForCondition(v1alpha1.ConditionReady, "True/AsDeclared")

	f.UpdatePolicy(field.SoakFor(2))
	f.WaitForCondition(v1alpha1.ConditionReady, "True/AsDeclared")
	tried := versionOf(f, "cp-1")
	f.RunKubectl("delete controlplanenodeenactments.cpnp.dev --all")
	f.Eventually(field.PhaseOf("cp-1"), field.Patience, field.Tick).Should(HavePrefix("Progressing/"), field.DescribeEnactments)
	f.Expect(field.EnactmentOf("cp-1").Status.Baseline).NotTo(BeEmpty(), "the baseline is missing")
	for _, node := range []string{"cp-2", "cp-3"} {
		f.Expect(field.PhaseOf(node)()).To(Equal("Pending/Queued"))
		f.Expect(field.EnactmentOf(node).Status.AdoptedTime).NotTo(BeNil())
		f.Expect(versionOf(f, node)).To(Equal(tried), "the existing rules stay until the node is tried")
		f.Expect(hasScopedFailsafes(f, node)).To(BeFalse(), "scoped failsafe ports are opened at once, because open ports cut nothing")
	}
	f.WaitForPhases("Enforced/Proven", "Enforced/Unproven", "Enforced/Unproven")
	f.Expect(hasScopedFailsafes(f, "cp-1")).To(BeTrue())
	f.WaitForReachability(field.EtcdPort, field.OnlyFrom("cp-2", "itself", "loopback"))
	f.WaitForCondition(v1alpha1.ConditionReady, "True/AsDeclared")
}

// hasScopedFailsafes tells whether the failsafe ports of a node are scoped.
func hasScopedFailsafes(f *field.Field, node string) bool {
	f.T.Helper()
	felix := &v3.FelixConfiguration{}
	f.Expect(client.IgnoreNotFound(field.Admin.Get(f.T.Context(), client.ObjectKey{Name: calico.FelixConfigurationName(node)}, felix))).To(Succeed())
	return felix.Spec.FailsafeInboundHostPorts != nil
}

// versionOf returns the version of a node's rules.
func versionOf(f *field.Field, node string) string {
	f.T.Helper()
	endpoint := &v3.HostEndpoint{}
	f.Expect(field.Admin.Get(f.T.Context(), client.ObjectKey{Name: calico.EndpointName(node, "")}, endpoint)).To(Succeed())
	return endpoint.Labels[calico.LabelVersion]
}

// A policy with orphaned rules leaves no rules on trial, because no operator would roll
// back rules on trial later.
func TestRulesOnTrialAreNotOrphaned(t *testing.T) {
	f := field.StartCluster(t, testcalico.IPTables)
	f.StartOperator()
	orphan := func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.DeletionPolicy = v1alpha1.DeletionOrphan }
	f.CreatePolicy(f.NewPolicy(orphan, field.SoakFor(600)))
	f.WaitForPhases("Progressing/Soaking", "Pending/Queued", "Pending/Queued")
	f.WaitForReachability(field.KubeletPort, field.OnlyFrom("cp-2", "itself", "loopback"))
	f.RemovePolicy()
	f.WaitForReachability(field.KubeletPort, field.OnlyFrom(field.AllClients...))
	f.Expect(field.ListInventory(t)).NotTo(ContainElement(HavePrefix("HostEndpoint/")))

	t.Log("rules that were tried before stay")
	f.CreatePolicy(f.NewPolicy(orphan))
	f.WaitForPhases("Enforced/Unproven", "Enforced/Unproven", "Enforced/Unproven")
	tried := versionOf(f, "cp-1")
	f.UpdatePolicy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) {
		field.KubeletOnly(s)
		field.SoakFor(600)(s)
	})
	f.WaitForPhases("Progressing/Soaking", "Pending/Queued", "Pending/Queued")
	f.Expect(versionOf(f, "cp-1")).NotTo(Equal(tried))
	f.RemovePolicy()
	f.Expect(versionOf(f, "cp-1")).To(Equal(tried))
	f.WaitForReachability(field.KubeletPort, field.OnlyFrom("cp-2", "itself", "loopback"))
	f.CreatePolicy(f.NewPolicy())
	f.WaitForPhases("Enforced/Unproven", "Enforced/Unproven", "Enforced/Unproven")
	f.RemovePolicy()
	f.WaitForReachability(field.KubeletPort, field.OnlyFrom(field.AllClients...))
}
