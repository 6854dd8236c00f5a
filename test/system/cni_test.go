// SPDX-License-Identifier: Apache-2.0

package system

import (
	"context"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// A component that lets nodes in is not written while Cilium ignores an ipBlock for nodes.
// The component is written as soon as Cilium respects such an ipBlock.
func TestNodesThatCiliumDoesNotSelect(t *testing.T) {
	s := beginStory(t)
	s.createNodes(1)
	cilium := daemonSet("cilium")
	s.createObjects(cilium)
	settings := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: "cilium-config"},
		Data:       map[string]string{"policy-cidr-match-mode": "nodes"},
	}
	t.Cleanup(func() {
		for _, object := range []client.Object{cilium, settings} {
			_ = client.IgnoreNotFound(s.admin.Delete(context.Background(), object))
		}
	})
	s.createObjects(s.newPolicy())
	s.startOperator()
	verified := s.conditionOf(s.name, v1alpha1.ConditionVerified)
	s.Eventually(verified).Should(Equal("False/NetworkPolicyNotEnforced"))
	s.Expect(s.messageOf(s.name, v1alpha1.ConditionVerified)).To(ContainSubstring("kubectl -n kube-system patch configmap cilium-config"))
	s.Expect(s.networkPolicies()).To(BeEmpty())

	s.createObjects(settings)
	s.waitUntilReady(s.name)
	written := s.networkPolicies()
	s.Expect(written).To(HaveLen(1))

	s.Expect(s.admin.Patch(s.ctx, settings, client.RawPatch("application/merge-patch+json", []byte(`{"data":{"policy-cidr-match-mode":""}}`)))).To(Succeed())
	s.Eventually(verified).Should(Equal("False/NetworkPolicyNotEnforced"))
	s.Expect(s.networkPolicies()).To(ConsistOf(HaveField("ResourceVersion", written[0].ResourceVersion)), "the written NetworkPolicy stays")

	s.Expect(s.admin.Delete(s.ctx, cilium)).To(Succeed())
	s.waitUntilReady(s.name)
}
