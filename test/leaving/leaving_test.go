// SPDX-License-Identifier: Apache-2.0

package leaving

import (
	"os"
	"testing"

	"github.com/cpnp-dev/cpnp-operator/test/field"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
)

// A policy or the operator ends in several ways. Each way leaves the documented
// reachability.
func TestReachabilityAfterThePolicyOrOperatorEnds(t *testing.T) {
	f := field.StartCluster(t, calico.IPTables)
	protected := field.OnlyFrom("cp-2", "itself", "loopback")
	scoped := func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Network.Failsafe = v1alpha1.FailsafeScope }
	before := field.ListInventory(t)
	stop := f.StartQuickOperator()
	f.CreatePolicy(f.NewPolicy(scoped))
	f.WaitForReachability(field.EtcdPort, protected)

	t.Log("suspended: existing rules stay, and changes by others are not repaired")
	f.UpdatePolicy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Suspend = true })
	f.WaitForCondition(v1alpha1.ConditionReady, "True/Suspended")
	f.Expect(f.ReachabilityOf(field.EtcdPort)).To(Equal(protected))
	f.RunKubectl("label hostendpoints.projectcalico.org -l cpnp.dev/policy=control-plane cpnp.dev/enforced-")
	f.WaitForReachability(field.KubeletPort, field.OnlyFrom(field.AllClients...))
	f.Consistently(func() map[string]string { return f.ReachabilityOf(field.KubeletPort) }, "5s", field.Tick).Should(Equal(field.OnlyFrom(field.AllClients...)))

	t.Log("the operator is gone: the rules stay as they are")
	f.UpdatePolicy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Suspend = false })
	f.WaitForCondition(v1alpha1.ConditionReady, "True/AsDeclared")
	stop()
	f.WaitForReachability(field.EtcdPort, protected)
	f.WaitForReachability(field.KubeletPort, protected)

	t.Log("with the operator gone, removing one label from every endpoint opens all ports; the operator restores the label after a restart")
	f.RunKubectl("label hostendpoints.projectcalico.org -l cpnp.dev/policy=control-plane cpnp.dev/enforced-")
	f.WaitForReachability(field.EtcdPort, field.OnlyFrom(field.AllClients...))
	f.WaitForReachability(field.KubeletPort, field.OnlyFrom(field.AllClients...))
	f.StartQuickOperator()
	f.WaitForReachability(field.EtcdPort, protected)

	t.Log("an annotation rolls everything back at once, also while the policy is suspended, and prevents a new rollout")
	f.UpdatePolicy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Suspend = true })
	f.RunKubectl("annotate cpnp control-plane cpnp.dev/revert=paged-at-night")
	f.WaitForReachability(field.EtcdPort, field.OnlyFrom(field.AllClients...))
	f.WaitForReachability(field.KubeletPort, field.OnlyFrom(field.AllClients...))
	f.WaitForCondition(v1alpha1.ConditionReady, "False/"+v1alpha1.ReasonRolledBack)
	f.Expect(field.ConditionMessage(v1alpha1.ConditionReady)).To(ContainSubstring("paged-at-night"))
	f.WaitForPhases("Reverted/RolledBack", "Reverted/RolledBack", "Reverted/RolledBack")
	f.Eventually(func() []string { return field.ListInventory(t) }, field.Patience, field.Tick).Should(Equal(before))

	t.Log("without the annotation, and not suspended, the nodes are started again")
	f.UpdatePolicy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Suspend = false })
	f.RunKubectl("annotate cpnp control-plane cpnp.dev/revert-")
	f.WaitForReachability(field.EtcdPort, protected)
	f.WaitForCondition(v1alpha1.ConditionReady, "True/AsDeclared")

	t.Log("deleted with Orphan: everything stays")
	f.UpdatePolicy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.DeletionPolicy = v1alpha1.DeletionOrphan })
	f.RemovePolicy()
	f.Expect(f.ReachabilityOf(field.EtcdPort)).To(Equal(protected))

	t.Log("declared again: the orphaned rules are adopted, and rolled back with Revert")
	f.CreatePolicy(f.NewPolicy(scoped))
	f.WaitForCondition(v1alpha1.ConditionReady, "True/AsDeclared")
	f.RemovePolicy()
	f.WaitForReachability(field.EtcdPort, field.OnlyFrom(field.AllClients...))
	f.WaitForReachability(field.KubeletPort, field.OnlyFrom(field.AllClients...))
}

// An administrator overrides the verdict on a policy that locks all clients out. No
// observer runs, so the operator cannot detect the lockout. Both documented ways out work,
// with the operator and without.
func TestATotalLockoutCanBeEnded(t *testing.T) {
	f := field.StartCluster(t, calico.IPTables)
	nobody := field.OnlyFrom()
	f.CreateForeignPolicy("hostile", "has(cpnp.dev/policy)", v3.Rule{Action: v3.Deny})
	stop := f.StartQuickOperator()
	policy := f.NewPolicy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Network.Failsafe = v1alpha1.FailsafeScope })
	policy.Annotations = map[string]string{v1alpha1.AnnotationAllowLockout: "we know what we do"}
	f.CreatePolicy(policy)
	f.WaitForReachability(field.KubeletPort, nobody)
	f.WaitForReachability(field.OtherPort, nobody)
	f.WaitForPhases("Enforced/Unproven", "Enforced/Unproven", "Enforced/Unproven")

	t.Log("the operator is there: an annotation")
	f.RunKubectl("annotate cpnp control-plane cpnp.dev/revert=locked-out")
	f.WaitForReachability(field.KubeletPort, field.OnlyFrom(field.AllClients...))
	f.WaitForReachability(field.OtherPort, field.OnlyFrom(field.AllClients...))

	t.Log("locked out again, and the API server does not answer: Felix's rules are removed by hand")
	f.RunKubectl("annotate cpnp control-plane cpnp.dev/revert-")
	f.WaitForReachability(field.KubeletPort, nobody)
	runByHand(f, "cp-1", "iptables-save | grep -v cali | iptables-restore", "ip6tables-save | grep -v cali | ip6tables-restore")
	f.WaitForReachability(field.KubeletPort, field.OnlyFrom(field.AllClients...))
	felix, err := field.Installed.StartFelix(t.Context(), f.Cluster.Machine("cp-1"), calico.FelixOptions{Backend: calico.IPTables, IPv6: true})
	f.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(felix.Stop)
	f.WaitForReachability(field.KubeletPort, nobody)
	f.RunKubectl("annotate cpnp control-plane cpnp.dev/revert=locked-out")
	f.WaitForReachability(field.KubeletPort, field.OnlyFrom(field.AllClients...))

	t.Log("locked out again, and the operator is dead: the managed endpoints are deleted")
	f.RunKubectl("annotate cpnp control-plane cpnp.dev/revert-")
	f.WaitForReachability(field.KubeletPort, nobody)
	stop()
	f.RunKubectl("delete hostendpoints.projectcalico.org -l cpnp.dev/policy=control-plane")
	f.WaitForReachability(field.KubeletPort, field.OnlyFrom(field.AllClients...))
	f.WaitForReachability(field.OtherPort, field.OnlyFrom(field.AllClients...))
	f.AnnotatePolicy(v1alpha1.AnnotationRevert, ptr.To("locked out"))
	f.StartQuickOperator()
	f.RemovePolicy()
}

// runByHand stops a Felix, and runs command lines of the documentation on its node.
func runByHand(f *field.Field, node string, lines ...string) {
	f.T.Helper()
	page, err := os.ReadFile("../../docs/rollout.md")
	f.Expect(err).NotTo(HaveOccurred())
	f.Cluster.Felix(node).Stop()
	for _, line := range lines {
		f.Expect(string(page)).To(ContainSubstring("`" + line + "`"))
		out, err := f.Cluster.Machine(node).Output(f.T.Context(), "sh", "-c", line)
		f.Expect(err).NotTo(HaveOccurred(), out)
	}
}

// The documented last resort works where Felix uses nftables.
func TestRulesAreRemovedByHandWithNFTables(t *testing.T) {
	f := field.StartCluster(t, calico.NFTables)
	f.StartOperator()
	f.CreatePolicy(f.NewPolicy(field.KubeletOnly))
	f.WaitForReachability(field.KubeletPort, field.OnlyFrom("cp-2", "itself", "loopback"))
	runByHand(f, "cp-1", "nft delete table ip calico; nft delete table ip6 calico")
	f.WaitForReachability(field.KubeletPort, field.OnlyFrom(field.AllClients...))
}

// After a policy has been deleted, the cluster has the same Calico objects as before.
func TestNothingIsOrphaned(t *testing.T) {
	f := field.StartCluster(t, calico.IPTables)
	before := field.ListInventory(t)
	f.StartQuickOperator()
	f.CreatePolicy(f.NewPolicy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Network.Failsafe = v1alpha1.FailsafeScope }))
	f.WaitForCondition(v1alpha1.ConditionReady, "True/AsDeclared")
	f.Expect(field.ListInventory(t)).NotTo(Equal(before))
	f.RemovePolicy()
	f.Expect(field.ListInventory(t)).To(Equal(before))
}
