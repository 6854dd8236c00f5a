// SPDX-License-Identifier: Apache-2.0

package system

import (
	"slices"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// createOwnPod creates the operator's own pod.
func (s *story) createOwnPod(node string, options ...testbed.PodOption) {
	s.t.Helper()
	s.own = "operator"
	s.createObjects(testbed.Pod(s.name, s.own, append([]testbed.PodOption{testbed.OnNode(node), testbed.PodLabels(map[string]string{"app": "operator"})}, options...)...))
	s.Eventually(s.getPod(s.own)).Should(HaveField("Status.Phase", corev1.PodRunning))
}

// A component that selects the operator's own pod is not written, unless the component lets
// the operator reach the API servers. This also holds where the pod gets the labels later.
func TestOperatorIsNotCutOff(t *testing.T) {
	s := beginStory(t)
	s.createOwnPod(s.createNodes(1)[0])
	var servers discoveryv1.EndpointSlice
	s.Expect(s.admin.Get(s.ctx, client.ObjectKey{Namespace: "default", Name: "kubernetes"}, &servers)).To(Succeed())
	policy := s.newPolicy()
	monitoring := v1alpha1.Destination{Peer: "monitoring"}
	policy.Spec.Network.Peers = []v1alpha1.Peer{{Name: "monitoring", CIDRs: []v1alpha1.CIDR{"198.51.100.0/24"}}}
	policy.Spec.Network.Components = []v1alpha1.Component{{
		Name: "everything", AllowTo: []v1alpha1.Destination{monitoring},
		Pods: &v1alpha1.PodSelector{Namespace: s.name, Selector: v1alpha1.LabelSelector{
			MatchExpressions: []v1alpha1.LabelSelectorRequirement{{Key: "nobody", Operator: "DoesNotExist"}},
		}},
	}}
	s.createObjects(policy)
	s.startOperator()
	verified, cutOff := s.conditionOf(s.name, v1alpha1.ConditionVerified), "False/"+v1alpha1.ReasonOperatorCutOff
	s.Eventually(verified).Should(Equal(cutOff))
	s.Eventually(s.conditionOf(s.name, v1alpha1.ConditionReady)).Should(Equal(cutOff))
	s.Expect(s.messageOf(s.name, v1alpha1.ConditionVerified)).To(ContainSubstring("selects the operator's own pod " + s.name + "/operator"))
	s.Expect(s.networkPolicies()).To(BeEmpty())

	t.Log("the component allows the traffic that the message names")
	s.editPolicy(s.name, func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) {
		spec.Network.Components[0].AllowTo = append(spec.Network.Components[0].AllowTo, v1alpha1.Destination{
			Role: v1alpha1.RoleControlPlane, Ports: []v1alpha1.Port{{Protocol: "TCP", Port: *servers.Ports[0].Port}},
		})
	})
	s.waitUntilReady(s.name)
	s.Expect(s.networkPolicies()).To(HaveLen(1))

	t.Log("a component selects other pods; then the operator's pod gets the same labels")
	s.editPolicy(s.name, func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) {
		component := &spec.Network.Components[0]
		component.AllowTo = []v1alpha1.Destination{monitoring}
		component.Pods.Selector = v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"team": "red"}}
	})
	s.waitUntilReady(s.name)
	s.Expect(s.admin.Patch(s.ctx, s.getPod(s.own)(), client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"team":"red"}}}`)))).To(Succeed())
	s.Eventually(verified).Should(Equal(cutOff))
}

// Taints that evict are written to one node after the other, and last to the operator's
// node. If the operator could then run nowhere, no such taint is written.
func TestOperatorIsEvictedLast(t *testing.T) {
	s := beginStory(t)
	s.pause = time.Hour
	nodes := s.createNodes(3)
	s.createOwnPod(nodes[0])
	const evicting = "cpnp.test/maintenance"
	s.createObjects(s.onlyTaints(v1alpha1.Taint{Key: evicting, Effect: corev1.TaintEffectNoExecute, AllowEviction: true}))
	stop := s.startOperator()
	s.Eventually(s.conditionOf(s.name, v1alpha1.ConditionReady)).Should(Equal("False/" + v1alpha1.ReasonHeld))
	s.Expect(s.messageOf(s.name, v1alpha1.ConditionTaintsInSync)).To(And(ContainSubstring("no node would be left"), ContainSubstring(evicting)))
	tainted := func() (have []string) {
		for _, node := range nodes {
			if slices.Contains(s.taintsOf(node)(), evicting+":NoExecute") {
				have = append(have, node)
			}
		}
		return have
	}
	s.Expect(tainted()).To(BeEmpty())

	t.Log("one node is left out")
	spare := testbed.Node(s.name+"-spare", testbed.InternalIP("10.77.0.99"))
	s.Expect(testbed.CreateNode(s.ctx, s.admin, spare)).To(Succeed())
	s.Eventually(tainted).Should(HaveLen(1))
	s.Consistently(tainted, "1s").Should(HaveLen(1), "one share of the nodes at a time")
	stop()
	s.pause = time.Second
	s.startOperator()
	s.Eventually(func() int {
		have := tainted()
		if len(have) < len(nodes) {
			s.Expect(have).NotTo(ContainElement(nodes[0]), "the operator runs on this node")
		}
		return len(have)
	}).Should(Equal(len(nodes)))
	s.Eventually(s.getPod(s.own)).Should(HaveField("Name", BeEmpty()))
}
