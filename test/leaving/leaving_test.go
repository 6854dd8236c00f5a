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

// What is reachable after the ways in which a policy, or the operator, goes.
func TestWhatIsReachableAfterwards(t *testing.T) {
	f := field.Enter(t, calico.IPTables)
	protected := field.Only("cp-2", "itself", "loopback")
	scoped := func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Network.Failsafe = v1alpha1.FailsafeScope }
	before := field.Inventory(t)
	stop := f.Operator()
	f.Create(f.Policy(scoped))
	f.Becomes(field.EtcdPort, protected)

	t.Log("suspended: what is there stays, and what others undo is not repaired")
	f.Update(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Suspend = true })
	f.Reports(v1alpha1.ConditionReady, "False/Suspended")
	f.Expect(f.Reaches(field.EtcdPort)).To(Equal(protected))
	f.Kubectl("label hostendpoints.projectcalico.org -l cpnp.dev/policy=control-plane cpnp.dev/enforced-")
	f.Becomes(field.KubeletPort, field.Only(field.Everybody...))
	f.Consistently(func() map[string]string { return f.Reaches(field.KubeletPort) }, "5s", field.Tick).Should(Equal(field.Only(field.Everybody...)))

	t.Log("the operator is gone: the rules stay as they are")
	f.Update(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Suspend = false })
	f.Reports(v1alpha1.ConditionReady, "True/AsDeclared")
	stop()
	f.Becomes(field.EtcdPort, protected)
	f.Becomes(field.KubeletPort, protected)

	t.Log("with the operator gone, one label taken from every endpoint opens everything; started again, it puts it back")
	f.Kubectl("label hostendpoints.projectcalico.org -l cpnp.dev/policy=control-plane cpnp.dev/enforced-")
	f.Becomes(field.EtcdPort, field.Only(field.Everybody...))
	f.Becomes(field.KubeletPort, field.Only(field.Everybody...))
	f.Operator()
	f.Becomes(field.EtcdPort, protected)

	t.Log("an annotation takes everything back at once, also where writing is suspended, and keeps it so")
	f.Update(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Suspend = true })
	f.Kubectl("annotate cpnp control-plane cpnp.dev/revert=paged-at-night")
	f.Becomes(field.EtcdPort, field.Only(field.Everybody...))
	f.Becomes(field.KubeletPort, field.Only(field.Everybody...))
	f.Reports(v1alpha1.ConditionReady, "False/"+v1alpha1.ReasonRolledBack)
	f.Expect(field.Message(v1alpha1.ConditionReady)).To(ContainSubstring("paged-at-night"))
	f.Phases("Reverted/RolledBack", "Reverted/RolledBack", "Reverted/RolledBack")
	f.Eventually(func() []string { return field.Inventory(t) }, field.Patience, field.Tick).Should(Equal(before))

	t.Log("without it, and not suspended, the nodes are begun again")
	f.Update(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Suspend = false })
	f.Kubectl("annotate cpnp control-plane cpnp.dev/revert-")
	f.Becomes(field.EtcdPort, protected)
	f.Reports(v1alpha1.ConditionReady, "True/AsDeclared")

	t.Log("deleted with Orphan: everything stays")
	f.Update(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.DeletionPolicy = v1alpha1.DeletionOrphan })
	f.Remove()
	f.Expect(f.Reaches(field.EtcdPort)).To(Equal(protected))

	t.Log("declared again: what was left behind is taken over, and with Revert taken back")
	f.Create(f.Policy(scoped))
	f.Reports(v1alpha1.ConditionReady, "True/AsDeclared")
	f.Remove()
	f.Becomes(field.EtcdPort, field.Only(field.Everybody...))
	f.Becomes(field.KubeletPort, field.Only(field.Everybody...))
}

// Somebody insists on what locks everybody out, and the operator can not tell:
// nobody observes. Both documented ways out work, with the operator and without.
func TestThereIsAWayOutOfATotalLockout(t *testing.T) {
	f := field.Enter(t, calico.IPTables)
	nobody := field.Only()
	f.Foreign("hostile", "has(cpnp.dev/policy)", v3.Rule{Action: v3.Deny})
	stop := f.Operator()
	policy := f.Policy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Network.Failsafe = v1alpha1.FailsafeScope })
	policy.Annotations = map[string]string{v1alpha1.AnnotationAllowLockout: "we know what we do"}
	f.Create(policy)
	f.Becomes(field.KubeletPort, nobody)
	f.Becomes(field.OtherPort, nobody)
	f.Phases("Enforced/Unproven", "Enforced/Unproven", "Enforced/Unproven")

	t.Log("the operator is there: an annotation")
	f.Kubectl("annotate cpnp control-plane cpnp.dev/revert=locked-out")
	f.Becomes(field.KubeletPort, field.Only(field.Everybody...))
	f.Becomes(field.OtherPort, field.Only(field.Everybody...))

	t.Log("it happens again, and not even the API server answers: Felix's rules go by hand")
	f.Kubectl("annotate cpnp control-plane cpnp.dev/revert-")
	f.Becomes(field.KubeletPort, nobody)
	byHand(f, "cp-1", "iptables-save | grep -v cali | iptables-restore", "ip6tables-save | grep -v cali | ip6tables-restore")
	f.Becomes(field.KubeletPort, field.Only(field.Everybody...))
	felix, err := field.Installed.StartFelix(t.Context(), f.Cluster.Machine("cp-1"), calico.FelixOptions{Backend: calico.IPTables, IPv6: true})
	f.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(felix.Stop)
	f.Becomes(field.KubeletPort, nobody)
	f.Kubectl("annotate cpnp control-plane cpnp.dev/revert=locked-out")
	f.Becomes(field.KubeletPort, field.Only(field.Everybody...))

	t.Log("it happens again, and the operator is dead: its endpoints go")
	f.Kubectl("annotate cpnp control-plane cpnp.dev/revert-")
	f.Becomes(field.KubeletPort, nobody)
	stop()
	f.Kubectl("delete hostendpoints.projectcalico.org -l cpnp.dev/policy=control-plane")
	f.Becomes(field.KubeletPort, field.Only(field.Everybody...))
	f.Becomes(field.OtherPort, field.Only(field.Everybody...))
	f.Annotate(v1alpha1.AnnotationRevert, ptr.To("locked out"))
	f.Operator()
	f.Remove()
}

// byHand stops a Felix, and runs lines of the documentation on its node.
func byHand(f *field.Field, node string, lines ...string) {
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

// The last resort, where Felix uses nftables.
func TestRulesGoByHandWithNFTables(t *testing.T) {
	f := field.Enter(t, calico.NFTables)
	f.Operator()
	f.Create(f.Policy(field.KubeletOnly))
	f.Becomes(field.KubeletPort, field.Only("cp-2", "itself", "loopback"))
	byHand(f, "cp-1", "nft delete table ip calico; nft delete table ip6 calico")
	f.Becomes(field.KubeletPort, field.Only(field.Everybody...))
}

// After a policy has been deleted nothing of it is left but what was there
// before.
func TestNothingIsOrphaned(t *testing.T) {
	f := field.Enter(t, calico.IPTables)
	before := field.Inventory(t)
	f.QuickOperator()
	f.Create(f.Policy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Network.Failsafe = v1alpha1.FailsafeScope }))
	f.Reports(v1alpha1.ConditionReady, "True/AsDeclared")
	f.Expect(field.Inventory(t)).NotTo(Equal(before))
	f.Remove()
	f.Expect(field.Inventory(t)).To(Equal(before))
}
