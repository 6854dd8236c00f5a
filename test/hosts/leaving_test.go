// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"os"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
)

// What is reachable after the ways in which a policy, or the operator, goes.
func TestWhatIsReachableAfterwards(t *testing.T) {
	f := enter(t, calico.IPTables)
	protected := only("cp-2", "itself", "loopback")
	scoped := func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Network.Failsafe = v1alpha1.FailsafeScope }
	before := inventory(t)
	stop := f.operator()
	f.create(f.policy(scoped))
	f.becomes(etcdPort, protected)

	t.Log("suspended: what is there stays, and what others undo is not repaired")
	f.update(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Suspend = true })
	f.reports(v1alpha1.ConditionReady, "False/Suspended")
	f.Expect(f.reaches(etcdPort)).To(Equal(protected))
	f.kubectl("label hostendpoints.projectcalico.org -l cpnp.dev/policy=control-plane cpnp.dev/enforced-")
	f.becomes(kubeletPort, only(everybody...))
	f.Consistently(func() map[string]string { return f.reaches(kubeletPort) }, "5s", tick).Should(Equal(only(everybody...)))

	t.Log("the operator is gone: the rules stay as they are")
	f.update(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Suspend = false })
	f.reports(v1alpha1.ConditionReady, "True/AsDeclared")
	stop()
	f.becomes(etcdPort, protected)
	f.becomes(kubeletPort, protected)

	t.Log("with the operator gone, one label taken from every endpoint opens everything; started again, it puts it back")
	f.kubectl("label hostendpoints.projectcalico.org -l cpnp.dev/policy=control-plane cpnp.dev/enforced-")
	f.becomes(etcdPort, only(everybody...))
	f.becomes(kubeletPort, only(everybody...))
	f.operator()
	f.becomes(etcdPort, protected)

	t.Log("an annotation takes everything back at once, also where writing is suspended, and keeps it so")
	f.update(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Suspend = true })
	f.kubectl("annotate cpnp control-plane cpnp.dev/revert=paged-at-night")
	f.becomes(etcdPort, only(everybody...))
	f.becomes(kubeletPort, only(everybody...))
	f.reports(v1alpha1.ConditionReady, "False/"+v1alpha1.ReasonTakenBack)
	f.Expect(message(v1alpha1.ConditionReady)).To(ContainSubstring("paged-at-night"))
	f.phases("Reverted/TakenBack", "Reverted/TakenBack", "Reverted/TakenBack")
	f.Eventually(func() []string { return inventory(t) }, patience, tick).Should(Equal(before))

	t.Log("without it, and not suspended, the nodes are begun again")
	f.update(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Suspend = false })
	f.kubectl("annotate cpnp control-plane cpnp.dev/revert-")
	f.becomes(etcdPort, protected)
	f.reports(v1alpha1.ConditionReady, "True/AsDeclared")

	t.Log("deleted with Orphan: everything stays")
	f.update(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.DeletionPolicy = v1alpha1.DeletionOrphan })
	f.remove()
	f.Expect(f.reaches(etcdPort)).To(Equal(protected))

	t.Log("declared again: what was left behind is taken over, and with Revert taken back")
	f.create(f.policy(scoped))
	f.reports(v1alpha1.ConditionReady, "True/AsDeclared")
	f.remove()
	f.becomes(etcdPort, only(everybody...))
	f.becomes(kubeletPort, only(everybody...))
}

// kubectl runs a line of the documentation.
func (f *field) kubectl(line string) {
	f.t.Helper()
	out, err := cluster.Kubectl(f.t.Context(), strings.Fields(line)...).CombinedOutput()
	f.Expect(err).NotTo(HaveOccurred(), string(out))
}

// Somebody insists on what locks everybody out, and the operator can not tell:
// nobody observes. Both documented ways out work, with the operator and without.
func TestThereIsAWayOutOfATotalLockout(t *testing.T) {
	f := enter(t, calico.IPTables)
	nobody := only()
	f.foreign("hostile", "has(cpnp.dev/policy)", v3.Rule{Action: v3.Deny})
	stop := f.operator()
	policy := f.policy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Network.Failsafe = v1alpha1.FailsafeScope })
	policy.Annotations = map[string]string{v1alpha1.AnnotationAllowLockout: "we know what we do"}
	f.create(policy)
	f.becomes(kubeletPort, nobody)
	f.becomes(otherPort, nobody)
	f.phases("Enforced/Unproven", "Enforced/Unproven", "Enforced/Unproven")

	t.Log("the operator is there: an annotation")
	f.kubectl("annotate cpnp control-plane cpnp.dev/revert=locked-out")
	f.becomes(kubeletPort, only(everybody...))
	f.becomes(otherPort, only(everybody...))

	t.Log("it happens again, and not even the API server answers: Felix's rules go by hand")
	f.kubectl("annotate cpnp control-plane cpnp.dev/revert-")
	f.becomes(kubeletPort, nobody)
	f.byHand("cp-1", "iptables-save | grep -v cali | iptables-restore", "ip6tables-save | grep -v cali | ip6tables-restore")
	f.becomes(kubeletPort, only(everybody...))
	felix, err := installed.StartFelix(t.Context(), f.cluster.Machine("cp-1"), calico.FelixOptions{Backend: calico.IPTables, IPv6: true})
	f.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(felix.Stop)
	f.becomes(kubeletPort, nobody)
	f.kubectl("annotate cpnp control-plane cpnp.dev/revert=locked-out")
	f.becomes(kubeletPort, only(everybody...))

	t.Log("it happens again, and the operator is dead: its endpoints go")
	f.kubectl("annotate cpnp control-plane cpnp.dev/revert-")
	f.becomes(kubeletPort, nobody)
	stop()
	f.kubectl("delete hostendpoints.projectcalico.org -l cpnp.dev/policy=control-plane")
	f.becomes(kubeletPort, only(everybody...))
	f.becomes(otherPort, only(everybody...))
	f.annotate(v1alpha1.AnnotationRevert, ptr.To("locked out"))
	f.operator()
	f.remove()
}

// byHand stops a Felix, and runs lines of the documentation on its node.
func (f *field) byHand(node string, lines ...string) {
	f.t.Helper()
	page, err := os.ReadFile("../../docs/rollout.md")
	f.Expect(err).NotTo(HaveOccurred())
	f.cluster.Felix(node).Stop()
	for _, line := range lines {
		f.Expect(string(page)).To(ContainSubstring("`" + line + "`"))
		out, err := f.cluster.Machine(node).Output(f.t.Context(), "sh", "-c", line)
		f.Expect(err).NotTo(HaveOccurred(), out)
	}
}

// The last resort, where Felix uses nftables.
func TestRulesGoByHandWithNFTables(t *testing.T) {
	f := enter(t, calico.NFTables)
	f.operator()
	f.create(f.policy(kubeletOnly))
	f.becomes(kubeletPort, only("cp-2", "itself", "loopback"))
	f.byHand("cp-1", "nft delete table ip calico; nft delete table ip6 calico")
	f.becomes(kubeletPort, only(everybody...))
}

// After a policy has been deleted nothing of it is left but what was there
// before.
func TestNothingIsLeftBehind(t *testing.T) {
	f := enter(t, calico.IPTables)
	before := inventory(t)
	f.operator()
	f.create(f.policy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Network.Failsafe = v1alpha1.FailsafeScope }))
	f.reports(v1alpha1.ConditionReady, "True/AsDeclared")
	f.Expect(inventory(t)).NotTo(Equal(before))
	f.remove()
	f.Expect(inventory(t)).To(Equal(before))
}
