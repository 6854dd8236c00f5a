// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"testing"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"github.com/projectcalico/api/pkg/lib/numorstring"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/network"
)

// A host endpoint of ours puts the whole host under the policies of others, in both
// directions. What they would then cut is foreseen, though the policy restricts
// nothing of the kind; and it is really cut where somebody insists.
func TestWhatOthersWouldCutElsewhereIsForeseen(t *testing.T) {
	f := enter(t, calico.NFTables)
	_, err := f.cluster.Machine("worker-1").Listen(network.TCP, kubeletPort)
	f.Expect(err).NotTo(HaveOccurred())
	toWorker := func() [2]network.Verdict {
		verdicts, err := dialBoth(f.cluster.Machine("cp-1"), f.cluster.Machine("worker-1").Cluster, network.TCP, kubeletPort)
		f.Expect(err).NotTo(HaveOccurred())
		return verdicts
	}
	tier := &v3.Tier{ObjectMeta: metav1.ObjectMeta{Name: "platform"}, Spec: v3.TierSpec{Order: ptr.To(100.0), DefaultAction: ptr.To(v3.Pass)}}
	f.Expect(admin.Create(t.Context(), tier)).To(Succeed())
	t.Cleanup(func() { deleteNow(f, tier) })
	leaving := &v3.GlobalNetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "platform.leaving"},
		Spec: v3.GlobalNetworkPolicySpec{
			Tier: "platform", Order: ptr.To(1.0), Selector: "all()", Types: []v3.PolicyType{v3.PolicyTypeEgress},
			Egress: []v3.Rule{{
				Action: v3.Deny, Protocol: ptr.To(numorstring.ProtocolFromString("TCP")),
				Destination: v3.EntityRule{Ports: []numorstring.Port{numorstring.SinglePort(kubeletPort)}},
			}},
		},
	}
	f.Expect(admin.Create(t.Context(), leaving)).To(Succeed())
	t.Cleanup(func() { deleteNow(f, leaving) })
	f.operator()
	f.create(f.policy(etcdOnly))
	f.reports(v1alpha1.ConditionVerified, "False/"+v1alpha1.ReasonRequiredFlowCut)
	f.Expect(message(v1alpha1.ConditionVerified)).To(And(
		ContainSubstring("kubelet-from-control-plane"), ContainSubstring("platform.leaving"), ContainSubstring("where it leaves")))
	f.Expect(inventory(t)).NotTo(ContainElement(HavePrefix("HostEndpoint/cpnp-")))
	f.Expect(toWorker()).To(Equal(open))

	f.annotate(v1alpha1.AnnotationAllowLockout, ptr.To("to see whether it is true"))
	f.Eventually(toWorker, patience, tick).Should(Equal([2]network.Verdict{network.Dropped, network.Dropped}))
	f.remove()
	f.Eventually(toWorker, patience, tick).Should(Equal(open))
}

// A policy may begin with one control-plane node: the others are still let in.
func TestAPolicyForOneControlPlaneNodeLetsInTheOthers(t *testing.T) {
	f := enter(t, calico.IPTables)
	canary := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "cp-1"}}
	f.Expect(admin.Patch(t.Context(), canary, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"canary":""}}}`)))).To(Succeed())
	f.operator()
	f.create(f.policy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) {
		s.NodeSelector = v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"canary": ""}}
		s.Network.Failsafe = v1alpha1.FailsafeScope
	}))
	f.phases("Enforced/Unproven")
	f.reports(v1alpha1.ConditionReady, "True/AsDeclared")
	f.becomes(etcdPort, only("cp-2", "itself", "loopback"))
	f.Expect(f.reaches(kubeletPort)).To(Equal(only("cp-2", "itself", "loopback")))
	f.Expect(enactmentOf("cp-2")).To(BeNil())
}
