// SPDX-License-Identifier: Apache-2.0

package system

import (
	"slices"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// The last trouble of a deletion is told, and not what was left to restore before; and the
// policy goes as soon as the trouble is over.
func TestDeletionSaysThatOnlyTheFinalizerIsLeft(t *testing.T) {
	s := beginStory(t)
	node := s.createNodes(1)[0]
	s.createService("web", corev1.ServiceTypeClusterIP)
	s.createObjects(s.newPolicy())
	s.startOperator()
	s.waitUntilReady(s.name)
	restoreRights := s.removeRights(func(rule rbacv1.PolicyRule) bool {
		return slices.Contains(rule.Verbs, "patch") && slices.Contains(rule.Resources, "controlplanenetworkpolicies")
	})
	s.Expect(admin.Delete(s.ctx, s.getPolicy(s.name))).To(Succeed())
	s.Eventually(func() string { return s.messageOf(s.name, v1alpha1.ConditionReady) }).Should(And(
		ContainSubstring("everything is restored, and only the finalizer cpnp.dev/finalizer is left"),
		ContainSubstring("is forbidden"), ContainSubstring("install it again")))
	s.Expect(s.taintsOf(node)()).To(BeEmpty())
	s.Expect(s.networkPolicies()).To(BeEmpty())
	given := time.Now()
	restoreRights()
	s.waitUntilGone(s.name)
	t.Logf("gone %s after the right came back", time.Since(given).Round(time.Millisecond))
}
