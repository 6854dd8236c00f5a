// SPDX-License-Identifier: Apache-2.0

package system

import (
	"encoding/json"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// patchObject changes an object as kubectl edit would, under a field manager's name.
func (s *story) patchObject(object client.Object, manager, body string) {
	s.t.Helper()
	s.Expect(s.admin.Patch(s.ctx, object, client.RawPatch(types.MergePatchType, []byte(body)), client.FieldOwner(manager))).To(Succeed())
}

// lastDrift returns the repaired drift in the status.
func (s *story) lastDrift(name string) func() v1alpha1.Drift {
	return func() v1alpha1.Drift {
		if last := s.getPolicy(name).Status.LastDrift; last != nil {
			return *last
		}
		return v1alpha1.Drift{}
	}
}

func TestDriftIsRepairedAndAttributed(t *testing.T) {
	s := beginStory(t)
	node := s.createNodes(1)[0]
	s.createService("web", corev1.ServiceTypeClusterIP)
	s.createObjects(s.newPolicy())
	s.startOperator()
	s.waitUntilReady(s.name)
	name := "cpnp." + s.name + ".coredns"
	policy := s.networkPolicies()[0]

	t.Run("a NetworkPolicy that was edited", func(t *testing.T) {
		s.patchObject(policy.DeepCopy(), "mallory", `{"spec":{"ingress":[{}]}}`)
		s.Eventually(func() any { return s.networkPolicies()[0].Spec }).Should(Equal(policy.Spec))
		s.Eventually(s.lastDrift(s.name)).Should(And(
			HaveField("Kind", "NetworkPolicy"), HaveField("Name", name), HaveField("Field", "spec.ingress"),
			HaveField("Cause", v1alpha1.CauseModified), HaveField("Manager", "mallory"), HaveField("Actual", "[{}]")))
	})
	t.Run("a NetworkPolicy that got rules for the other direction", func(t *testing.T) {
		s.patchObject(policy.DeepCopy(), "mallory", `{"spec":{"egress":[{}]}}`)
		s.Eventually(func() any { return s.networkPolicies()[0].Spec }).Should(Equal(policy.Spec))
		s.Eventually(s.lastDrift(s.name)).Should(And(
			HaveField("Field", "spec.egress"), HaveField("Cause", v1alpha1.CauseUnexpected), HaveField("Manager", "mallory")))
	})
	t.Run("a NetworkPolicy whose label was taken away", func(t *testing.T) {
		s.patchObject(policy.DeepCopy(), "mallory", `{"metadata":{"labels":{"cpnp.dev/policy":null}}}`)
		s.Eventually(func() any { return s.networkPolicies()[0].Labels }).Should(Equal(policy.Labels))
		s.Eventually(s.lastDrift(s.name)).Should(HaveField("Field", "metadata.labels[cpnp.dev/policy]"))
	})
	t.Run("a NetworkPolicy that was deleted", func(t *testing.T) {
		s.Expect(s.admin.Delete(s.ctx, policy.DeepCopy())).To(Succeed())
		s.Eventually(s.networkPolicies).Should(ConsistOf(HaveField("Spec", policy.Spec)))
		s.Eventually(s.lastDrift(s.name)).Should(And(HaveField("Cause", v1alpha1.CauseMissing), HaveField("Field", "")))
	})
	t.Run("a taint that was removed while another was added", func(t *testing.T) {
		s.patchObject(s.getNode(node), "mallory", `{"spec":{"taints":[{"key":"theirs","effect":"NoSchedule"}]}}`)
		s.Eventually(s.taintsOf(node)).Should(ConsistOf("theirs:NoSchedule", dedicated+":NoSchedule"))
		s.Eventually(s.lastDrift(s.name)).Should(And(
			HaveField("Kind", "Node"), HaveField("Name", node), HaveField("Field", dedicated+":NoSchedule"),
			HaveField("Cause", v1alpha1.CauseMissing), HaveField("Manager", "mallory")))
	})
	t.Run("a taint whose value was changed", func(t *testing.T) {
		s.patchObject(s.getNode(node), "eve", `{"spec":{"taints":[{"key":"`+dedicated+`","value":"x","effect":"NoSchedule"}]}}`)
		s.Eventually(s.taintsOf(node)).Should(ConsistOf(dedicated + ":NoSchedule"))
		s.Eventually(s.lastDrift(s.name)).Should(And(
			HaveField("Cause", v1alpha1.CauseModified), HaveField("Actual", "x"), HaveField("Manager", "eve")))
	})
	t.Run("a Service that was edited", func(t *testing.T) {
		s.patchObject(s.getService("web"), "mallory", `{"spec":{"internalTrafficPolicy":"Cluster"}}`)
		s.Eventually(func() any { return s.getService("web").Spec.InternalTrafficPolicy }).Should(HaveValue(BeEquivalentTo("Local")))
		s.Eventually(s.lastDrift(s.name)).Should(And(
			HaveField("Kind", "Service"), HaveField("Namespace", s.name), HaveField("Field", "internalTrafficPolicy"),
			HaveField("Expected", "Local"), HaveField("Actual", "Cluster"), HaveField("Manager", "mallory")))
	})
	s.waitUntilReady(s.name)
	s.Eventually(s.eventsOf(s.name)).Should(ContainElement(And(
		HaveField("Reason", "DriftCorrected"), HaveField("Note", ContainSubstring("by mallory")))))
}

func TestAuditReportsDriftAndRepairsNothing(t *testing.T) {
	s := beginStory(t)
	s.createNodes(1)
	s.createObjects(s.newPolicy())
	s.startOperator()
	s.waitUntilReady(s.name)
	s.editPolicy(s.name, func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) { spec.Mode = v1alpha1.ModeAudit })
	s.waitUntilAudited(s.name)

	policy := s.networkPolicies()[0]
	s.patchObject(&policy, "mallory", `{"spec":{"ingress":[{}]}}`)
	s.Eventually(s.conditionOf(s.name, v1alpha1.ConditionDrifted)).Should(Equal("True/Drifted"))
	s.Expect(s.getPolicy(s.name).Status.Drift).To(ConsistOf(And(
		HaveField("Field", "spec.ingress"), HaveField("State", v1alpha1.StateDrifted), HaveField("Manager", "mallory"))))
	s.Expect(s.networkPolicies()[0].Spec.Ingress).To(Equal([]networkingv1.NetworkPolicyIngressRule{{}}))
}

// New intent and new nodes are no drift.
func TestNewIntentIsNotDrift(t *testing.T) {
	s := beginStory(t)
	nodes := s.createNodes(1)
	s.createObjects(s.newPolicy())
	s.startOperator()
	s.waitUntilReady(s.name)

	s.editPolicy(s.name, func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) {
		spec.Taints[0].Value = "reserved"
		spec.Network.Components[0].Ports[0].Port = 5353
		spec.Services[0].InternalTrafficPolicy, spec.Services[0].LocalPolicy = corev1.ServiceInternalTrafficPolicyCluster, ""
	})
	s.waitUntilReady(s.name)
	s.Expect(s.taintsOf(nodes[0])()).To(ConsistOf(dedicated + "=reserved:NoSchedule"))
	// A node counts once the node has its label. When a node joins, the controller manager
	// writes all taints of the node, and may drop a taint that was written meanwhile.
	joined := s.name + "-joined"
	s.Expect(testbed.CreateNode(s.ctx, s.admin, testbed.Node(joined, testbed.InternalIP("10.77.0.200")))).To(Succeed())
	s.Eventually(s.taintsOf(joined)).Should(BeEmpty())
	label, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": s.storyLabels()}})
	s.Expect(err).NotTo(HaveOccurred())
	s.patchObject(s.getNode(joined), "admin", string(label))
	s.Eventually(s.taintsOf(joined)).Should(ConsistOf(dedicated + "=reserved:NoSchedule"))
	s.Eventually(func() any { return s.networkPolicies()[0].Spec.Ingress[0].From }).Should(
		ContainElement(HaveField("IPBlock", HaveValue(HaveField("CIDR", "10.77.0.200/32")))))
	s.waitUntilReady(s.name)
	s.Expect(s.getPolicy(s.name).Status.LastDrift).To(BeNil())
}
