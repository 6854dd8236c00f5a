// SPDX-License-Identifier: Apache-2.0

package system

import (
	"slices"
	"time"

	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// The last trouble of a deletion is told, and not what was left to restore before; and the
// policy goes as soon as the trouble is over.
func TestDeletionSaysThatOnlyTheFinalizerIsLeft(t *testing.T) {
	s := begin(t)
	node := s.nodes(1)[0]
	s.service("web", corev1.ServiceTypeClusterIP)
	s.create(s.policy())
	s.operator()
	s.ready(s.name)
	giveBack := s.takeAway(func(rule rbacv1.PolicyRule) bool {
		return slices.Contains(rule.Verbs, "patch") && slices.Contains(rule.Resources, "controlplanenetworkpolicies")
	})
	s.Expect(admin.Delete(s.ctx, s.get(s.name))).To(Succeed())
	s.Eventually(func() string { return s.message(s.name, v1alpha1.ConditionReady) }).Should(And(
		ContainSubstring("everything is restored, and only the finalizer cpnp.dev/finalizer is left"),
		ContainSubstring("is forbidden"), ContainSubstring("install it again")))
	s.Expect(s.taints(node)()).To(BeEmpty())
	s.Expect(s.networkPolicies()).To(BeEmpty())
	given := time.Now()
	giveBack()
	s.gone(s.name)
	t.Logf("gone %s after the right came back", time.Since(given).Round(time.Millisecond))
}
