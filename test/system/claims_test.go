// SPDX-License-Identifier: Apache-2.0

package system

import (
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// Of two policies with the same claim, the older policy wins, and the newer policy reports
// so and writes nothing there. When the older policy is deleted, the newer policy takes its
// place.
func TestOlderPolicyWins(t *testing.T) {
	s := beginStory(t)
	node := s.createNodes(1)[0]
	s.createService("web", corev1.ServiceTypeClusterIP)
	older := s.newPolicy()
	older.Name = s.name + "-b"
	s.createObjects(older)
	s.startOperator()
	s.waitUntilReady(older.Name)

	newer := s.newPolicy()
	newer.Name = s.name + "-a" // the newer policy's name comes first: age decides, not the alphabet
	newer.Spec.Taints[0].Value = "newer"
	newer.Spec.Services[0].InternalTrafficPolicy, newer.Spec.Services[0].LocalPolicy = corev1.ServiceInternalTrafficPolicyCluster, ""
	s.waitForNextSecond(older) // creation times count in seconds
	s.createObjects(newer)
	s.Eventually(s.conditionOf(newer.Name, v1alpha1.ConditionAccepted)).Should(Equal("False/Conflicted"))
	s.Expect(s.messageOf(newer.Name, v1alpha1.ConditionAccepted)).To(And(
		ContainSubstring("component coredns is claimed by "+older.Name),
		ContainSubstring(dedicated+":NoSchedule of Node/"+node),
		ContainSubstring("internalTrafficPolicy of Service/"+s.name+"/web")))
	s.Expect(s.conditionOf(newer.Name, v1alpha1.ConditionStalled)()).To(Equal("True/Conflicted"))
	s.Expect(s.taintsOf(node)()).To(ConsistOf(dedicated + ":NoSchedule"))
	s.Expect(s.networkPolicies()).To(HaveLen(1))
	s.waitUntilReady(older.Name)

	s.Expect(s.admin.Delete(s.ctx, older)).To(Succeed())
	s.waitUntilReady(newer.Name)
	s.Expect(s.taintsOf(node)()).To(ConsistOf(dedicated + "=newer:NoSchedule"))
	s.Expect(s.networkPolicies()).To(ConsistOf(HaveField("Name", "cpnp."+newer.Name+".coredns")))

	// In the end, the originals from before both policies are restored.
	s.Expect(s.admin.Delete(s.ctx, newer)).To(Succeed())
	s.waitUntilGone(newer.Name)
	s.Expect(s.taintsOf(node)()).To(BeEmpty())
}

// waitForNextSecond waits until an object created now is younger than policy.
func (s *story) waitForNextSecond(policy *v1alpha1.ControlPlaneNetworkPolicy) {
	s.t.Helper()
	probe := 0
	s.Eventually(func() bool {
		probe++
		object := &corev1.ConfigMap{}
		object.Namespace, object.GenerateName = s.name, "clock-"
		s.Expect(s.admin.Create(s.ctx, object)).To(Succeed())
		return object.CreationTimestamp.After(policy.CreationTimestamp.Time)
	}, deadline, "100ms").Should(BeTrue())
}

func (s *story) waitUntilGone(policy string) {
	s.t.Helper()
	s.Eventually(func() error {
		return s.admin.Get(s.ctx, client.ObjectKey{Name: policy}, &v1alpha1.ControlPlaneNetworkPolicy{})
	}).Should(MatchError(ContainSubstring("not found")))
}

// A foreign NetworkPolicy with the name of a managed one is left alone.
func TestForeignObjectWithAManagedNameIsLeftAlone(t *testing.T) {
	s := beginStory(t)
	s.createNodes(1)
	foreign := s.foreignNetworkPolicy("cpnp." + s.name + ".coredns")
	s.createObjects(foreign, s.newPolicy())
	s.startOperator()
	s.Eventually(s.conditionOf(s.name, v1alpha1.ConditionAccepted)).Should(Equal("False/Conflicted"))
	s.Expect(s.networkPolicies()).To(ConsistOf(And(HaveField("UID", foreign.UID), HaveField("ResourceVersion", foreign.ResourceVersion))))

	s.Expect(s.admin.Delete(s.ctx, foreign)).To(Succeed())
	s.waitUntilReady(s.name)
}
