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

// originals sets up a node and a Service that are not as the policy will have
// them, nor as Kubernetes would have them by default.
func (s *story) originals() (node string) {
	node = s.nodes(1, testbed.Taints(
		corev1.Taint{Key: dedicated, Value: "before", Effect: corev1.TaintEffectNoSchedule},
		corev1.Taint{Key: "theirs", Effect: corev1.TaintEffectNoSchedule}))[0]
	web := testbed.Service(s.name, "web", corev1.ServiceTypeNodePort, testbed.ServiceLabels(s.label()))
	web.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	web.Spec.TrafficDistribution = ptr.To("PreferClose")
	s.create(web, s.foreignNetworkPolicy("theirs"))
	return node
}

// replacing returns a policy that changes all of that.
func (s *story) replacing() *v1alpha1.ControlPlaneNetworkPolicy {
	policy := s.policy()
	policy.Spec.Taints = append(policy.Spec.Taints, v1alpha1.Taint{Key: "added", Effect: corev1.TaintEffectNoSchedule})
	policy.Spec.Services[0].ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyCluster
	policy.Spec.Services[0].TrafficDistribution = "PreferSameNode"
	return policy
}

type traffic struct{ external, internal, distribution string }

func (s *story) traffic(service string) traffic {
	spec := s.serviceNow(service).Spec
	return traffic{string(spec.ExternalTrafficPolicy), string(ptr.Deref(spec.InternalTrafficPolicy, "")), ptr.Deref(spec.TrafficDistribution, "")}
}

func (s *story) enforced(node string) {
	s.t.Helper()
	s.create(s.replacing())
	s.operator()
	s.ready(s.name)
	s.Expect(s.taints(node)()).To(ConsistOf(dedicated+":NoSchedule", "theirs:NoSchedule", "added:NoSchedule"))
	s.Expect(s.traffic("web")).To(Equal(traffic{"Cluster", "Local", "PreferSameNode"}))
	s.Expect(s.networkPolicies()).To(HaveLen(2))
}

func (s *story) delete(name string) {
	s.t.Helper()
	s.Expect(admin.Delete(s.ctx, s.get(name))).To(Succeed())
	s.gone(name)
}

func TestDeletionRestoresWhatWasThere(t *testing.T) {
	s := begin(t)
	node := s.originals()
	s.enforced(node)

	s.delete(s.name)
	s.Expect(s.taints(node)()).To(ConsistOf(dedicated+"=before:NoSchedule", "theirs:NoSchedule"))
	s.Expect(s.traffic("web")).To(Equal(traffic{"Local", "Cluster", "PreferClose"}))
	s.Expect(s.networkPolicies()).To(ConsistOf(HaveField("Name", "theirs")))
	s.Expect(s.recorded(node)()).To(BeEmpty())
	s.Expect(s.serviceNow("web").Annotations).NotTo(HaveKey(v1alpha1.AnnotationRecord))
}

func TestDeletionLeavesWhatOthersChangedSince(t *testing.T) {
	s := begin(t)
	node := s.originals()
	s.enforced(node)
	// Audit writes nothing, so what others change now stays changed.
	s.edit(s.name, func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) { spec.Mode = v1alpha1.ModeAudit })
	s.ready(s.name) // nodes and policies come by watches of their own
	s.patch(s.node(node), "mallory", `{"spec":{"taints":[{"key":"`+dedicated+`","value":"since","effect":"NoSchedule"}]}}`)
	s.patch(s.serviceNow("web"), "mallory", `{"spec":{"trafficDistribution":"PreferSameZone"}}`)
	s.Eventually(s.condition(s.name, v1alpha1.ConditionDrifted)).Should(Equal("True/Drifted"))

	s.delete(s.name)
	s.Expect(s.taints(node)()).To(ConsistOf(dedicated + "=since:NoSchedule"))
	s.Expect(s.traffic("web")).To(Equal(traffic{"Local", "Cluster", "PreferSameZone"}))
}

func TestOrphanLeavesEverything(t *testing.T) {
	s := begin(t)
	node := s.originals()
	s.enforced(node)
	s.edit(s.name, func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) { spec.DeletionPolicy = v1alpha1.DeletionOrphan })
	s.ready(s.name)
	s.delete(s.name)
	s.Expect(s.taints(node)()).To(ConsistOf(dedicated+":NoSchedule", "theirs:NoSchedule", "added:NoSchedule"))
	s.Expect(s.traffic("web")).To(Equal(traffic{"Cluster", "Local", "PreferSameNode"}))
	s.Expect(s.networkPolicies()).To(HaveLen(2))
}

func TestSuspendKeepsEverythingAsItIs(t *testing.T) {
	s := begin(t)
	node := s.originals()
	s.enforced(node)
	s.edit(s.name, func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) { spec.Suspend = true })
	s.Eventually(s.condition(s.name, v1alpha1.ConditionReady)).Should(Equal("False/Suspended"))
	s.patch(s.node(node), "mallory", `{"spec":{"taints":[]}}`)
	s.Eventually(s.condition(s.name, v1alpha1.ConditionDrifted)).Should(Equal("True/Drifted"))
	s.Expect(s.taints(node)()).To(BeEmpty())

	s.edit(s.name, func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) { spec.Suspend = false })
	s.Eventually(s.taints(node)).Should(ConsistOf(dedicated+":NoSchedule", "added:NoSchedule"))
	s.ready(s.name)

	s.edit(s.name, func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) { spec.Suspend = true })
	s.Eventually(s.condition(s.name, v1alpha1.ConditionReady)).Should(Equal("False/Suspended"))
	s.delete(s.name)
	s.Expect(s.taints(node)()).To(ConsistOf(dedicated+":NoSchedule", "added:NoSchedule"))
}

// What the spec does not say any more is given back, without deleting anything.
func TestWhatIsNoLongerDeclaredIsRestored(t *testing.T) {
	s := begin(t)
	node := s.originals()
	s.enforced(node)
	s.edit(s.name, func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) {
		spec.Taints = spec.Taints[1:]
		spec.Network = nil
		spec.Services[0].TrafficDistribution = ""
	})
	s.ready(s.name)
	s.Eventually(s.taints(node)).Should(ConsistOf(dedicated+"=before:NoSchedule", "theirs:NoSchedule", "added:NoSchedule"))
	s.Eventually(func() traffic { return s.traffic("web") }).Should(Equal(traffic{"Cluster", "Local", "PreferClose"}))
	s.Eventually(s.networkPolicies).Should(ConsistOf(HaveField("Name", "theirs")))

	// A node that is no longer selected gets its taints back, too.
	s.patch(s.node(node), "admin", `{"metadata":{"labels":{"story":"another"}}}`)
	s.Eventually(s.condition(s.name, v1alpha1.ConditionAccepted)).Should(Equal("False/NoMatchingNodes"))
	s.Expect(s.taints(node)()).To(ContainElement("added:NoSchedule"), "without any matching node, the last good state stays")
	s.join("10.77.0.99")
	s.Eventually(s.taints(node)).Should(ConsistOf(dedicated+"=before:NoSchedule", "theirs:NoSchedule"))
}

// A policy that selects no node any more keeps its taints: most likely a label was
// lost. That stands in the way of nobody else, and not of the break-glass.
func TestTaintsOfAPolicyThatSelectsNoNodeStayUntilItIsTakenBack(t *testing.T) {
	s := begin(t)
	node := s.originals()
	s.enforced(node)
	other := s.onlyTaints(v1alpha1.Taint{Key: "other", Effect: corev1.TaintEffectNoSchedule})
	other.Name = s.name + "-other"
	s.create(other)
	s.ready(other.Name)
	s.edit(s.name, func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) {
		spec.NodeSelector = v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"lost": v1alpha1.LabelValue(s.name)}}
	})
	s.Eventually(s.condition(s.name, v1alpha1.ConditionReady)).Should(Equal("False/" + v1alpha1.ReasonNoMatchingNodes))

	s.patch(s.node(node), "mallory", `{"spec":{"taints":[{"key":"`+dedicated+`","effect":"NoSchedule"},{"key":"added","effect":"NoSchedule"}]}}`)
	s.Eventually(s.taints(node)).Should(ConsistOf(dedicated+":NoSchedule", "added:NoSchedule", "other:NoSchedule"))

	s.patch(s.get(s.name), "kubectl", `{"metadata":{"annotations":{"`+v1alpha1.AnnotationRevert+`":"paged at night"}}}`)
	s.Eventually(s.taints(node)).Should(ConsistOf(dedicated+"=before:NoSchedule", "other:NoSchedule"))
}
