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
	policy := s.newPolicy()
	policy.Spec.Network, policy.Spec.Services, policy.Spec.Taints = nil, nil, taints
	return policy
}

func TestPodWithoutTolerationStaysOffTheControlPlane(t *testing.T) {
	s := beginStory(t)
	node := s.createNodes(1)[0]
	s.createObjects(s.onlyTaints(v1alpha1.Taint{Key: dedicated, Effect: corev1.TaintEffectNoSchedule}))
	s.startOperator()
	s.waitUntilReady(s.name)

	tolerant := testbed.Pod(s.name, "tolerant", testbed.Tolerations(corev1.Toleration{Key: dedicated, Operator: corev1.TolerationOpExists}))
	s.createObjects(testbed.Pod(s.name, "plain"), tolerant)
	s.Eventually(s.getPod("tolerant")).Should(And(HaveField("Spec.NodeName", node), HaveField("Status.Phase", corev1.PodRunning)))
	s.Eventually(s.getPod("plain")).Should(HaveField("Status.Conditions", ContainElement(
		HaveField("Message", ContainSubstring("untolerated taint")))))
	s.Expect(s.getPod("plain")()).To(HaveField("Spec.NodeName", BeEmpty()))
}

func (s *story) getPod(name string) func() *corev1.Pod {
	return func() *corev1.Pod {
		pod := &corev1.Pod{}
		s.Expect(client.IgnoreNotFound(s.admin.Get(s.ctx, client.ObjectKey{Namespace: s.name, Name: name}, pod))).To(Succeed())
		return pod
	}
}

// Evictions by a NoExecute taint are counted while the policy audits. Once enforced, the
// taint evicts the counted pods.
func TestEvictionsAreCountedBeforeTheyHappen(t *testing.T) {
	s := beginStory(t)
	node := s.createNodes(1)[0]
	for i := range 3 {
		s.createObjects(testbed.Pod(s.name, fmt.Sprintf("plain-%d", i), testbed.OnNode(node)))
	}
	s.createObjects(testbed.Pod(s.name, "tolerant", testbed.OnNode(node), testbed.Tolerations(corev1.Toleration{Operator: corev1.TolerationOpExists})))
	s.Eventually(s.getPod("tolerant")).Should(HaveField("Status.Phase", corev1.PodRunning))
	policy := s.onlyTaints(v1alpha1.Taint{Key: "cpnp.dev/dedicated", Effect: corev1.TaintEffectNoExecute, AllowEviction: true})
	policy.Spec.Mode = v1alpha1.ModeAudit
	s.createObjects(policy)
	s.startOperator()
	s.Eventually(func() any { return s.getPolicy(s.name).Status.PodsToEvict }).Should(HaveValue(BeEquivalentTo(3)))

	s.editPolicy(s.name, func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) { spec.Mode = v1alpha1.ModeEnforce })
	s.waitUntilReady(s.name)
	s.Eventually(s.getPod("plain-0")).Should(HaveField("Name", BeEmpty()))
	s.Expect(s.getPod("tolerant")()).To(HaveField("DeletionTimestamp", BeNil()))
	s.Eventually(func() any { return s.getPolicy(s.name).Status.PodsToEvict }).Should(HaveValue(BeZero()))
}

// Other managers may write taints at the same time: no taint is lost, neither foreign nor
// managed.
func TestForeignTaintsSurviveConcurrentWrites(t *testing.T) {
	s := beginStory(t)
	node := s.createNodes(1)[0]
	s.createObjects(s.onlyTaints(v1alpha1.Taint{Key: dedicated, Effect: corev1.TaintEffectNoSchedule}))
	s.startOperator()
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
	s.Eventually(s.taintsOf(node)).Should(And(HaveLen(writers*rounds+1), ContainElement(dedicated+":NoSchedule")))
	s.waitUntilReady(s.name)
}

// addTaint adds a taint as a careful writer does, and may remove the managed taint.
func (s *story) addTaint(name, key string, removeOurs bool) error {
	node := s.getNode(name)
	var taints []corev1.Taint
	for _, taint := range node.Spec.Taints {
		if !removeOurs || taint.Key != dedicated {
			taints = append(taints, taint)
		}
	}
	taints = append(taints, corev1.Taint{Key: key, Effect: corev1.TaintEffectPreferNoSchedule})
	node.Spec.Taints = taints
	err := s.admin.Update(s.ctx, node)
	if err != nil && !apierrors.IsConflict(err) {
		s.t.Errorf("adding a taint: %v", err)
	}
	return err
}
