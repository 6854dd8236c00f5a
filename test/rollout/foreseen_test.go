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

// A managed host endpoint exposes the whole host to foreign policies, in both directions.
// The verdict names the flows that these policies would cut, although the policy does not
// restrict these flows, and the flows are really cut where the verdict is overridden.
func TestCutsByForeignPoliciesElsewhereAreForeseen(t *testing.T) {
	f := field.StartCluster(t, calico.NFTables)
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
	f.StartQuickOperator()
	f.CreatePolicy(f.NewPolicy(field.EtcdOnly))
	f.WaitForCondition(v1alpha1.ConditionVerified, "False/"+v1alpha1.ReasonRequiredFlowCut)
	f.Expect(field.ConditionMessage(v1alpha1.ConditionVerified)).To(And(
		ContainSubstring("kubelet-from-control-plane"), ContainSubstring("platform.leaving"), ContainSubstring("(outgoing)")))
	f.Expect(field.ListInventory(t)).NotTo(ContainElement(HavePrefix("HostEndpoint/cpnp-")))
	f.Expect(toWorker()).To(Equal(field.Open))

	f.AnnotatePolicy(v1alpha1.AnnotationAllowLockout, ptr.To("to see whether it is true"))
	f.Eventually(toWorker, field.Patience, field.Tick).Should(Equal([2]network.Verdict{network.Dropped, network.Dropped}))
	f.RemovePolicy()
	f.Eventually(toWorker, field.Patience, field.Tick).Should(Equal(field.Open))
}

// A policy may select a single control-plane node: the other control-plane nodes are still allowed.
func TestAPolicyForOneControlPlaneNodeAllowsTheOthers(t *testing.T) {
	f := field.StartCluster(t, calico.IPTables)
	canary := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "cp-1"}}
	f.Expect(field.Admin.Patch(t.Context(), canary, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"canary":""}}}`)))).To(Succeed())
	f.StartOperator()
	f.CreatePolicy(f.NewPolicy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) {
		s.NodeSelector = v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"canary": ""}}
		s.Network.Failsafe = v1alpha1.FailsafeScope
	}))
	f.WaitForPhases("Enforced/Unproven")
	f.WaitForCondition(v1alpha1.ConditionReady, "True/AsDeclared")
	f.WaitForReachability(field.EtcdPort, field.OnlyFrom("cp-2", "itself", "loopback"))
	f.Expect(f.ReachabilityOf(field.KubeletPort)).To(Equal(field.OnlyFrom("cp-2", "itself", "loopback")))
	f.Expect(field.EnactmentOf("cp-2")).To(BeNil())
}
