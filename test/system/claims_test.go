// SPDX-License-Identifier: Apache-2.0

package system

import (
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// Of two policies that claim the same, the older wins, and the newer says so
// and writes nothing there; when the older goes, the newer takes its place.
func TestOlderPolicyWins(t *testing.T) {
	s := begin(t)
	node := s.nodes(1)[0]
	s.service("web", corev1.ServiceTypeClusterIP)
	older := s.policy()
	older.Name = s.name + "-b"
	s.create(older)
	s.operator()
	s.ready(older.Name)

	newer := s.policy()
	newer.Name = s.name + "-a" // its name comes first: age decides, not the alphabet
	newer.Spec.Taints[0].Value = "newer"
	newer.Spec.Services[0].InternalTrafficPolicy, newer.Spec.Services[0].LocalPolicy = corev1.ServiceInternalTrafficPolicyCluster, ""
	s.waitForNextSecond(older) // creation times count in seconds
	s.create(newer)
	s.Eventually(s.condition(newer.Name, v1alpha1.ConditionAccepted)).Should(Equal("False/Conflicted"))
	s.Expect(s.message(newer.Name, v1alpha1.ConditionAccepted)).To(And(
		ContainSubstring("component coredns is claimed by "+older.Name),
		ContainSubstring(dedicated+":NoSchedule of Node/"+node),
		ContainSubstring("internalTrafficPolicy of Service/"+s.name+"/web")))
	s.Expect(s.condition(newer.Name, v1alpha1.ConditionStalled)()).To(Equal("True/Conflicted"))
	s.Expect(s.taints(node)()).To(ConsistOf(dedicated + ":NoSchedule"))
	s.Expect(s.networkPolicies()).To(HaveLen(1))
	s.ready(older.Name)

	s.Expect(admin.Delete(s.ctx, older)).To(Succeed())
	s.ready(newer.Name)
	s.Expect(s.taints(node)()).To(ConsistOf(dedicated + "=newer:NoSchedule"))
	s.Expect(s.networkPolicies()).To(ConsistOf(HaveField("Name", "cpnp."+newer.Name+".coredns")))

	// What is restored in the end is what was there before either of them.
	s.Expect(admin.Delete(s.ctx, newer)).To(Succeed())
	s.gone(newer.Name)
	s.Expect(s.taints(node)()).To(BeEmpty())
}

// waitForNextSecond waits until an object created now is younger than policy.
func (s *story) waitForNextSecond(policy *v1alpha1.ControlPlaneNetworkPolicy) {
	s.t.Helper()
	probe := 0
	s.Eventually(func() bool {
		probe++
		object := &corev1.ConfigMap{}
		object.Namespace, object.GenerateName = s.name, "clock-"
		s.Expect(admin.Create(s.ctx, object)).To(Succeed())
		return object.CreationTimestamp.After(policy.CreationTimestamp.Time)
	}, deadline, "100ms").Should(BeTrue())
}

func (s *story) gone(policy string) {
	s.t.Helper()
	s.Eventually(func() error {
		return admin.Get(s.ctx, client.ObjectKey{Name: policy}, &v1alpha1.ControlPlaneNetworkPolicy{})
	}).Should(MatchError(ContainSubstring("not found")))
}

// A NetworkPolicy that has a name of ours and is not ours is left alone.
func TestForeignObjectOfOurNameIsLeftAlone(t *testing.T) {
	s := begin(t)
	s.nodes(1)
	foreign := s.foreignNetworkPolicy("cpnp." + s.name + ".coredns")
	s.create(foreign, s.policy())
	s.operator()
	s.Eventually(s.condition(s.name, v1alpha1.ConditionAccepted)).Should(Equal("False/Conflicted"))
	s.Expect(s.networkPolicies()).To(ConsistOf(And(HaveField("UID", foreign.UID), HaveField("ResourceVersion", foreign.ResourceVersion))))

	s.Expect(admin.Delete(s.ctx, foreign)).To(Succeed())
	s.ready(s.name)
}
