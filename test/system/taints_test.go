// SPDX-License-Identifier: Apache-2.0

package system

import (
	"fmt"
	"sync"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

func (s *story) onlyTaints(taints ...v1alpha1.Taint) *v1alpha1.ControlPlaneNetworkPolicy {
	policy := s.policy()
	policy.Spec.Network, policy.Spec.Services, policy.Spec.Taints = nil, nil, taints
	return policy
}

func TestPodWithoutTolerationStaysOffTheControlPlane(t *testing.T) {
	s := begin(t)
	node := s.nodes(1)[0]
	s.create(s.onlyTaints(v1alpha1.Taint{Key: dedicated, Effect: corev1.TaintEffectNoSchedule}))
	s.operator()
	s.ready(s.name)

	tolerant := testbed.Pod(s.name, "tolerant", testbed.Tolerations(corev1.Toleration{Key: dedicated, Operator: corev1.TolerationOpExists}))
	s.create(testbed.Pod(s.name, "plain"), tolerant)
	s.Eventually(s.pod("tolerant")).Should(And(HaveField("Spec.NodeName", node), HaveField("Status.Phase", corev1.PodRunning)))
	s.Eventually(s.pod("plain")).Should(HaveField("Status.Conditions", ContainElement(
		HaveField("Message", ContainSubstring("untolerated taint")))))
	s.Expect(s.pod("plain")()).To(HaveField("Spec.NodeName", BeEmpty()))
}

func (s *story) pod(name string) func() *corev1.Pod {
	return func() *corev1.Pod {
		pod := &corev1.Pod{}
		s.Expect(client.IgnoreNotFound(admin.Get(s.ctx, client.ObjectKey{Namespace: s.name, Name: name}, pod))).To(Succeed())
		return pod
	}
}

// The pods that a NoExecute taint would evict are counted while the policy only
// audits; enforced, it evicts them.
func TestEvictionsAreCountedBeforeTheyHappen(t *testing.T) {
	s := begin(t)
	node := s.nodes(1)[0]
	for i := range 3 {
		s.create(testbed.Pod(s.name, fmt.Sprintf("plain-%d", i), testbed.OnNode(node)))
	}
	s.create(testbed.Pod(s.name, "tolerant", testbed.OnNode(node), testbed.Tolerations(corev1.Toleration{Operator: corev1.TolerationOpExists})))
	s.Eventually(s.pod("tolerant")).Should(HaveField("Status.Phase", corev1.PodRunning))
	policy := s.onlyTaints(v1alpha1.Taint{Key: "cpnp.dev/dedicated", Effect: corev1.TaintEffectNoExecute, AllowEviction: true})
	policy.Spec.Mode = v1alpha1.ModeAudit
	s.create(policy)
	s.operator()
	s.Eventually(func() any { return s.get(s.name).Status.PodsToEvict }).Should(HaveValue(BeEquivalentTo(3)))

	s.edit(s.name, func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) { spec.Mode = v1alpha1.ModeEnforce })
	s.ready(s.name)
	s.Eventually(s.pod("plain-0")).Should(HaveField("Name", BeEmpty()))
	s.Expect(s.pod("tolerant")()).To(HaveField("DeletionTimestamp", BeNil()))
	s.Eventually(func() any { return s.get(s.name).Status.PodsToEvict }).Should(HaveValue(BeZero()))
}

// Others may write taints at the same time: none is lost, theirs or ours.
func TestOthersTaintsSurviveConcurrentWrites(t *testing.T) {
	s := begin(t)
	node := s.nodes(1)[0]
	s.create(s.onlyTaints(v1alpha1.Taint{Key: dedicated, Effect: corev1.TaintEffectNoSchedule}))
	s.operator()
	const writers, rounds = 4, 10
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for r := range rounds {
				s.Eventually(func() error { return s.addTaint(node, fmt.Sprintf("theirs-%d-%d", w, r), r%2 == 1) }).Should(Succeed())
			}
		})
	}
	group.Wait()
	s.Eventually(s.taints(node)).Should(And(HaveLen(writers*rounds+1), ContainElement(dedicated+":NoSchedule")))
	s.ready(s.name)
}

// addTaint adds a taint as a careful writer does, and may take ours away.
func (s *story) addTaint(name, key string, removeOurs bool) error {
	node := s.node(name)
	var taints []corev1.Taint
	for _, taint := range node.Spec.Taints {
		if !removeOurs || taint.Key != dedicated {
			taints = append(taints, taint)
		}
	}
	taints = append(taints, corev1.Taint{Key: key, Effect: corev1.TaintEffectPreferNoSchedule})
	node.Spec.Taints = taints
	err := admin.Update(s.ctx, node)
	if err != nil && !apierrors.IsConflict(err) {
		s.t.Errorf("adding a taint: %v", err)
	}
	return err
}
