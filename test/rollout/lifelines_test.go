// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"testing"

	"github.com/cpnp-dev/cpnp-operator/test/field"

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
	f := field.Enter(t, calico.NFTables)
	_, err := f.Cluster.Machine("worker-1").Listen(network.TCP, field.KubeletPort)
	f.Expect(err).NotTo(HaveOccurred())
	toWorker := func() [2]network.Verdict {
		verdicts, err := field.DialBoth(f.Cluster.Machine("cp-1"), f.Cluster.Machine("worker-1").Cluster, network.TCP, field.KubeletPort)
		f.Expect(err).NotTo(HaveOccurred())
		return verdicts
	}
	tier := &v3.Tier{ObjectMeta: metav1.ObjectMeta{Name: "platform"}, Spec: v3.TierSpec{Order: ptr.To(100.0), DefaultAction: ptr.To(v3.Pass)}}
	f.Expect(field.Admin.Create(t.Context(), tier)).To(Succeed())
	t.Cleanup(func() { field.DeleteNow(f, tier) })
	leaving := &v3.GlobalNetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "platform.leaving"},
		Spec: v3.GlobalNetworkPolicySpec{
			Tier: "platform", Order: ptr.To(1.0), Selector: "all()", Types: []v3.PolicyType{v3.PolicyTypeEgress},
			Egress: []v3.Rule{{
				Action: v3.Deny, Protocol: ptr.To(numorstring.ProtocolFromString("TCP")),
				Destination: v3.EntityRule{Ports: []numorstring.Port{numorstring.SinglePort(field.KubeletPort)}},
			}},
		},
	}
	f.Expect(field.Admin.Create(t.Context(), leaving)).To(Succeed())
	t.Cleanup(func() { field.DeleteNow(f, leaving) })
	f.QuickOperator()
	f.Create(f.Policy(field.EtcdOnly))
	f.Reports(v1alpha1.ConditionVerified, "False/"+v1alpha1.ReasonRequiredFlowCut)
	f.Expect(field.Message(v1alpha1.ConditionVerified)).To(And(
		ContainSubstring("kubelet-from-control-plane"), ContainSubstring("platform.leaving"), ContainSubstring("(outgoing)")))
	f.Expect(field.Inventory(t)).NotTo(ContainElement(HavePrefix("HostEndpoint/cpnp-")))
	f.Expect(toWorker()).To(Equal(field.Open))

	f.Annotate(v1alpha1.AnnotationAllowLockout, ptr.To("to see whether it is true"))
	f.Eventually(toWorker, field.Patience, field.Tick).Should(Equal([2]network.Verdict{network.Dropped, network.Dropped}))
	f.Remove()
	f.Eventually(toWorker, field.Patience, field.Tick).Should(Equal(field.Open))
}

// A policy may begin with one control-plane node: the others are still let in.
func TestAPolicyForOneControlPlaneNodeLetsInTheOthers(t *testing.T) {
	f := field.Enter(t, calico.IPTables)
	canary := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "cp-1"}}
	f.Expect(field.Admin.Patch(t.Context(), canary, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"canary":""}}}`)))).To(Succeed())
	f.Operator()
	f.Create(f.Policy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) {
		s.NodeSelector = v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"canary": ""}}
		s.Network.Failsafe = v1alpha1.FailsafeScope
	}))
	f.Phases("Enforced/Unproven")
	f.Reports(v1alpha1.ConditionReady, "True/AsDeclared")
	f.Becomes(field.EtcdPort, field.Only("cp-2", "itself", "loopback"))
	f.Expect(f.Reaches(field.KubeletPort)).To(Equal(field.Only("cp-2", "itself", "loopback")))
	f.Expect(field.EnactmentOf("cp-2")).To(BeNil())
}
