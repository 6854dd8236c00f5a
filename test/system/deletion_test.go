// SPDX-License-Identifier: Apache-2.0

package system

import (
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

func (s *story) foreignNetworkPolicy(name string) *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.name, Name: name},
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"theirs": "yes"}},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
		},
	}
}

// createOriginals creates a node and a Service with other values than the policy will
// declare, and other values than Kubernetes' defaults.
func (s *story) createOriginals() (node string) {
	node = s.createNodes(1, testbed.Taints(
		corev1.Taint{Key: dedicated, Value: "before", Effect: corev1.TaintEffectNoSchedule},
		corev1.Taint{Key: "theirs", Effect: corev1.TaintEffectNoSchedule}))[0]
	web := testbed.Service(s.name, "web", corev1.ServiceTypeNodePort, testbed.ServiceLabels(s.storyLabels()))
	web.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	web.Spec.TrafficDistribution = ptr.To("PreferClose")
	s.createObjects(web, s.foreignNetworkPolicy("theirs"))
	return node
}

// replacingPolicy returns a policy with other values for all originals.
func (s *story) replacingPolicy() *v1alpha1.ControlPlaneNetworkPolicy {
	policy := s.newPolicy()
	policy.Spec.Taints = append(policy.Spec.Taints, v1alpha1.Taint{Key: "added", Effect: corev1.TaintEffectNoSchedule})
	policy.Spec.Services[0].ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyCluster
	policy.Spec.Services[0].TrafficDistribution = "PreferSameNode"
	return policy
}

type traffic struct{ external, internal, distribution string }

func (s *story) trafficOf(service string) traffic {
	spec := s.getService(service).Spec
	return traffic{string(spec.ExternalTrafficPolicy), string(ptr.Deref(spec.InternalTrafficPolicy, "")), ptr.Deref(spec.TrafficDistribution, "")}
}

func (s *story) enforcePolicy(node string) {
	s.t.Helper()
	s.createObjects(s.replacingPolicy())
	s.startOperator()
	s.waitUntilReady(s.name)
	s.Expect(s.taintsOf(node)()).To(ConsistOf(dedicated+":NoSchedule", "theirs:NoSchedule", "added:NoSchedule"))
	s.Expect(s.trafficOf("web")).To(Equal(traffic{"Cluster", "Local", "PreferSameNode"}))
	s.Expect(s.networkPolicies()).To(HaveLen(2))
}

func (s *story) deletePolicy(name string) {
	s.t.Helper()
	s.Expect(s.admin.Delete(s.ctx, s.getPolicy(name))).To(Succeed())
	s.waitUntilGone(name)
}

func TestDeletionRestoresOriginals(t *testing.T) {
	s := beginStory(t)
	node := s.createOriginals()
	s.enforcePolicy(node)

	s.deletePolicy(s.name)
	s.Expect(s.taintsOf(node)()).To(ConsistOf(dedicated+"=before:NoSchedule", "theirs:NoSchedule"))
	s.Expect(s.trafficOf("web")).To(Equal(traffic{"Local", "Cluster", "PreferClose"}))
	s.Expect(s.networkPolicies()).To(ConsistOf(HaveField("Name", "theirs")))
	s.Expect(s.recordedTaints(node)()).To(BeEmpty())
	s.Expect(s.getService("web").Annotations).NotTo(HaveKey(v1alpha1.AnnotationRecord))
}

func TestDeletionLeavesForeignChanges(t *testing.T) {
	s := beginStory(t)
	node := s.createOriginals()
	s.enforcePolicy(node)
	// Audit writes nothing, so foreign changes now stay.
	s.editPolicy(s.name, func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) { spec.Mode = v1alpha1.ModeAudit })
	s.waitUntilAudited(s.name) // nodes and policies have separate watches
	s.patchObject(s.getNode(node), "mallory", `{"spec":{"taints":[{"key":"`+dedicated+`","value":"since","effect":"NoSchedule"}]}}`)
	s.patchObject(s.getService("web"), "mallory", `{"spec":{"trafficDistribution":"PreferSameZone"}}`)
	s.Eventually(s.conditionOf(s.name, v1alpha1.ConditionDrifted)).Should(Equal("True/Drifted"))

	s.deletePolicy(s.name)
	s.Expect(s.taintsOf(node)()).To(ConsistOf(dedicated + "=since:NoSchedule"))
	s.Expect(s.trafficOf("web")).To(Equal(traffic{"Local", "Cluster", "PreferSameZone"}))
}

func TestOrphanLeavesEverything(t *testing.T) {
	s := beginStory(t)
	node := s.createOriginals()
	s.enforcePolicy(node)
	s.editPolicy(s.name, func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) { spec.DeletionPolicy = v1alpha1.DeletionOrphan })
	s.waitUntilReady(s.name)
	s.deletePolicy(s.name)
	s.Expect(s.taintsOf(node)()).To(ConsistOf(dedicated+":NoSchedule", "theirs:NoSchedule", "added:NoSchedule"))
	s.Expect(s.trafficOf("web")).To(Equal(traffic{"Cluster", "Local", "PreferSameNode"}))
	s.Expect(s.networkPolicies()).To(HaveLen(2))
}

func TestSuspendKeepsEveryObject(t *testing.T) {
	s := beginStory(t)
	node := s.createOriginals()
	s.enforcePolicy(node)
	s.editPolicy(s.name, func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) { spec.Suspend = true })
	s.Eventually(s.conditionOf(s.name, v1alpha1.ConditionReady)).Should(Equal("True/Suspended"))
	s.patchObject(s.getNode(node), "mallory", `{"spec":{"taints":[]}}`)
	s.Eventually(s.conditionOf(s.name, v1alpha1.ConditionDrifted)).Should(Equal("True/Drifted"))
	s.Expect(s.taintsOf(node)()).To(BeEmpty())

	s.editPolicy(s.name, func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) { spec.Suspend = false })
	s.Eventually(s.taintsOf(node)).Should(ConsistOf(dedicated+":NoSchedule", "added:NoSchedule"))
	s.waitUntilReady(s.name)

	s.editPolicy(s.name, func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) { spec.Suspend = true })
	s.Eventually(s.conditionOf(s.name, v1alpha1.ConditionReady)).Should(Equal("True/Suspended"))
	s.deletePolicy(s.name)
	s.Expect(s.taintsOf(node)()).To(ConsistOf(dedicated+":NoSchedule", "added:NoSchedule"))
}

// Undeclared fields are restored, without any deletion.
func TestUndeclaredFieldsAreRestored(t *testing.T) {
	s := beginStory(t)
	node := s.createOriginals()
	s.enforcePolicy(node)
	s.editPolicy(s.name, func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) {
		spec.Taints = spec.Taints[1:]
		spec.Network = nil
		spec.Services[0].TrafficDistribution = ""
	})
	s.waitUntilReady(s.name)
	s.Eventually(s.taintsOf(node)).Should(ConsistOf(dedicated+"=before:NoSchedule", "theirs:NoSchedule", "added:NoSchedule"))
	s.Eventually(func() traffic { return s.trafficOf("web") }).Should(Equal(traffic{"Cluster", "Local", "PreferClose"}))
	s.Eventually(s.networkPolicies).Should(ConsistOf(HaveField("Name", "theirs")))

	// The taints of an unselected node are restored, too.
	s.patchObject(s.getNode(node), "admin", `{"metadata":{"labels":{"story":"another"}}}`)
	s.Eventually(s.conditionOf(s.name, v1alpha1.ConditionAccepted)).Should(Equal("False/NoMatchingNodes"))
	s.Expect(s.taintsOf(node)()).To(ContainElement("added:NoSchedule"), "without any matching node, the last good state stays")
	s.joinNode("10.77.0.99")
	s.Eventually(s.taintsOf(node)).Should(ConsistOf(dedicated+"=before:NoSchedule", "theirs:NoSchedule"))
}

// A policy without selected nodes keeps all taints, because most likely a label was lost.
// The kept taints hinder no other policy, and break-glass still works.
func TestTaintsOfAPolicyWithoutNodesStayUntilRevert(t *testing.T) {
	s := beginStory(t)
	node := s.createOriginals()
	s.enforcePolicy(node)
	other := s.onlyTaints(v1alpha1.Taint{Key: "other", Effect: corev1.TaintEffectNoSchedule})
	other.Name = s.name + "-other"
	s.createObjects(other)
	s.waitUntilReady(other.Name)
	s.editPolicy(s.name, func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) {
		spec.NodeSelector = v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"lost": v1alpha1.LabelValue(s.name)}}
	})
	s.Eventually(s.conditionOf(s.name, v1alpha1.ConditionReady)).Should(Equal("False/" + v1alpha1.ReasonNoMatchingNodes))

	s.patchObject(s.getNode(node), "mallory", `{"spec":{"taints":[{"key":"`+dedicated+`","effect":"NoSchedule"},{"key":"added","effect":"NoSchedule"}]}}`)
	s.Eventually(s.taintsOf(node)).Should(ConsistOf(dedicated+":NoSchedule", "added:NoSchedule", "other:NoSchedule"))

	s.patchObject(s.getPolicy(s.name), "kubectl", `{"metadata":{"annotations":{"`+v1alpha1.AnnotationRevert+`":"paged at night"}}}`)
	s.Eventually(s.taintsOf(node)).Should(ConsistOf(dedicated+"=before:NoSchedule", "other:NoSchedule"))
}
