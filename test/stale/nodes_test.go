// SPDX-License-Identifier: Apache-2.0

package stale

import (
	"slices"
	"testing"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// A restarted operator that reads the nodes from before a node joined does not cut that node off.
func TestRestartWithNodesFromBeforeOneJoined(t *testing.T) {
	const address = "10.77.0.99"
	t.Parallel()
	s := begin(t)
	s.start()
	s.create(s.policy(func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) {
		spec.Network.Components[1].AllowFrom = []v1alpha1.PeerReference{{Role: v1alpha1.RoleNodes}} // of the kubelet
	}))
	s.ready()
	s.Expect(s.proxy.Remember(t.Context(), "nodes")).To(Succeed())
	worker := testbed.Node(s.name+"-worker", testbed.InternalIP(address), testbed.NodeReady(corev1.ConditionTrue))
	s.Expect(testbed.CreateNode(t.Context(), s.admin, worker)).To(Succeed())
	s.Eventually(func() bool {
		var sets v3.GlobalNetworkSetList
		s.Expect(s.admin.List(t.Context(), &sets)).To(Succeed())
		return slices.ContainsFunc(sets.Items, func(set v3.GlobalNetworkSet) bool { return slices.Contains(set.Spec.Nets, address+"/32") })
	}).Should(BeTrue(), s.tell)
	s.stop()
	s.restart("nodes")
	s.ready()
	s.expectSound()
}

// A taint that was set a moment ago is removed with the policy, although the
// watch of Nodes does not show the taint yet.
func TestTaintThatTheCacheDoesNotShowIsRemoved(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.start()
	s.create(s.policy())
	s.ready()
	s.Expect(s.taintedNodes()).To(Equal(s.nodes))
	s.annotate(v1alpha1.AnnotationRevert, "paged at night")
	s.Eventually(s.taintedNodes).Should(BeZero(), s.tell)
	s.Eventually(s.condition(v1alpha1.ConditionReady)).Should(Equal("False/RolledBack"), s.tell)
	s.proxy.Freeze("nodes")
	s.annotate(v1alpha1.AnnotationRevert, "")
	s.Eventually(s.taintedNodes).ShouldNot(BeZero(), s.tell)
	s.Expect(s.admin.Delete(t.Context(), s.named())).To(Succeed())
	s.Consistently(func() error {
		return s.admin.Get(t.Context(), client.ObjectKeyFromObject(s.named()), s.named())
	}, "3s").Should(Succeed(), "the node still has the taint")
	s.proxy.Thaw()
	s.gone()
	s.expectSound()
}

// A taint that was removed a moment ago, and that the watch of Nodes still shows, does not count as an
// original when the policy claims the taint again: otherwise the taint would stay after the policy.
func TestRemovedTaintThatTheCacheShowsIsNoOriginal(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.start()
	s.create(s.policy())
	s.ready()
	s.Expect(s.taintedNodes()).To(Equal(s.nodes))
	s.proxy.Freeze("nodes")
	s.annotate(v1alpha1.AnnotationRevert, "paged at night")
	s.Eventually(s.taintedNodes).Should(BeZero(), s.tell)
	s.annotate(v1alpha1.AnnotationRevert, "")
	s.lasts(2 * timing.WriteVisible)
	s.proxy.Thaw()
	s.Eventually(s.taintedNodes).Should(Equal(s.nodes), s.tell)
	s.remove()
	s.Expect(s.taintedNodes()).To(BeZero())
	s.expectSound()
}

// taintedNodes returns how many nodes have the taint that the policy declares.
func (s *story) taintedNodes() (count int) {
	s.t.Helper()
	var nodes corev1.NodeList
	s.Expect(s.admin.List(s.t.Context(), &nodes, client.MatchingLabels(s.label()))).To(Succeed())
	for _, node := range nodes.Items {
		if slices.ContainsFunc(node.Spec.Taints, func(taint corev1.Taint) bool { return taint.Key == testbed.ControlPlaneRole }) {
			count++
		}
	}
	return count
}
