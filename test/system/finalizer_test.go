// SPDX-License-Identifier: Apache-2.0

package system

import (
	"fmt"
	"slices"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// The message of a deletion names only the last problem, and not the objects that
// were left to restore before. The policy is deleted as soon as the problem ends.
func TestDeletionReportsThatOnlyTheFinalizerIsLeft(t *testing.T) {
	s := beginStory(t)
	node := s.createNodes(1)[0]
	s.createService("web", corev1.ServiceTypeClusterIP)
	s.createObjects(s.newPolicy())
	s.startOperator()
	s.waitUntilReady(s.name)
	restoreRights := s.removeRights(func(rule rbacv1.PolicyRule) bool {
		return slices.Contains(rule.Verbs, "patch") && slices.Contains(rule.Resources, "controlplanenetworkpolicies")
	})
	s.Expect(s.admin.Delete(s.ctx, s.getPolicy(s.name))).To(Succeed())
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

// Once the last object is restored, the finalizer is removed: after the time to see the
// restored objects in the cache, and to look for other objects on the API server. The time
// is logged, and bounded only loosely, because a busy machine may be slow.
func TestFinalizerIsRemovedAfterTheLastRestore(t *testing.T) {
	s := beginStory(t)
	s.createNodes(3)
	for i := range 5 {
		s.createService(fmt.Sprintf("web-%d", i), corev1.ServiceTypeClusterIP)
	}
	s.createObjects(s.newPolicy())
	s.startOperator()
	s.waitUntilReady(s.name)
	s.waitUntilQuiet()
	mark, asked := s.markAuditLog(), time.Now()
	s.deletePolicy(s.name)

	requested := s.requestsSince(mark)
	removal := func() *testbed.AuditEvent {
		requested = s.requestsSince(mark)
		i := slices.IndexFunc(requested.Repairs, func(e testbed.AuditEvent) bool {
			return e.Succeeded() && e.Resource == "controlplanenetworkpolicies"
		})
		if i < 0 {
			return nil
		}
		return &requested.Repairs[i]
	}
	// The API server logs a request after its answer: the policy is gone before the log says so.
	s.Eventually(removal).ShouldNot(BeNil(), "%s", requested)
	gone := removal().Time
	var restored time.Time
	written := map[string]int{}
	for _, e := range requested.Repairs {
		if e.Succeeded() && e.Resource != "controlplanenetworkpolicies" {
			written[e.Resource]++
			if e.Time.After(restored) {
				restored = e.Time
			}
		}
	}
	s.Expect(written).To(And(HaveKey("nodes"), HaveKey("services"), HaveKey("networkpolicies")))
	took := gone.Sub(restored)
	t.Logf("the last of %v was restored after %s, and the finalizer went %s later",
		written, restored.Sub(asked).Round(time.Millisecond), took.Round(time.Millisecond))
	s.Expect(took).To(And(BeNumerically(">", 0), BeNumerically("<", 5*time.Second)), "%s", requested)
}
