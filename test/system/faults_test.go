// SPDX-License-Identifier: Apache-2.0

package system

import (
	"context"
	"crypto/rand"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// Objects written by the operator, as named in request paths.
var (
	writesOfObjects = []string{"/nodes/", "/services/", "/networkpolicies/"}
	writesOfAll     = append([]string{"/controlplanenetworkpolicies/", "/events"}, writesOfObjects...)
)

// driftEverything makes one drift of every kind, with a new manager each time, because a
// manager with repeated changes is contested.
func (s *story) driftEverything(node string) {
	s.t.Helper()
	manager := "mallory-" + rand.Text()
	s.patchObject(s.getNode(node), manager, `{"spec":{"taints":[{"key":"`+dedicated+`","effect":"NoSchedule","value":"no"}]}}`)
	s.patchObject(s.getService("web"), manager, `{"spec":{"internalTrafficPolicy":"Cluster"}}`)
	s.patchObject(s.networkPolicyOf("coredns"), manager, `{"spec":{"ingress":[{}]}}`)
}

// Failures of the API server, with an error or without an answer, are reported, and the
// operator waits for their end.
func TestFailuresOfTheAPIServerPass(t *testing.T) {
	const (
		lasts = 3 * time.Second
		// Retries begin after 100 ms, and each takes twice as long as the last, after at
		// most five conflicts; the status has its own pace.
		atMost = 12
	)
	s := beginStory(t)
	node := s.createNodes(1)[0]
	s.createService("web", corev1.ServiceTypeClusterIP)
	s.createObjects(s.newPolicy())
	proxy, log := newFaultProxy(t, s.rights), &journal{}
	s.startOperatorAs(proxy.clientConfig(), func(o *ctrl.Options) {
		o.Controller.ReconciliationTimeout = 2 * time.Second
		o.Logger = log.newLogger()
	})
	s.waitUntilReady(s.name)
	posture := s.readPosture()

	for _, failure := range []struct {
		name  string
		fault fault
		told  string // in the condition Programmed; empty if the status may stay silent
	}{
		{"conflicts without end", fault{writesOfObjects, answerWith(http.StatusConflict, metav1.StatusReasonConflict, "")}, "injected fault: Conflict"},
		{"too many requests", fault{writesOfObjects, answerWith(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests, "1")}, "Service"},
		{"internal errors", fault{writesOfObjects, answerWith(http.StatusInternalServerError, metav1.StatusReasonInternalError, "")}, "injected fault: InternalError"},
		{"no answers", fault{writesOfObjects, neverAnswer}, "no answer from the API server: context deadline exceeded"},
		{"answers that get lost", fault{writesOfObjects, loseAnswer}, ""},
		{"nothing can be written at all", fault{writesOfAll, answerWith(http.StatusInternalServerError, metav1.StatusReasonInternalError, "")}, ""},
	} {
		t.Run(failure.name, func(t *testing.T) {
			s := s.inSubtest(t)
			s.waitUntilQuiet()
			proxy.setFault(&failure.fault)
			begun := time.Now()
			s.driftEverything(node)
			if failure.told != "" {
				s.Eventually(s.conditionOf(s.name, v1alpha1.ConditionProgrammed)).Should(Equal("False/ApplyFailed"))
				s.Eventually(func() string { return s.messageOf(s.name, v1alpha1.ConditionProgrammed) }).Should(And(
					ContainSubstring(failure.told), ContainSubstring("Node/"), ContainSubstring("Service/"), ContainSubstring("NetworkPolicy/")))
			}
			s.Eventually(func() time.Duration { return time.Since(begun) }).Should(BeNumerically(">", lasts))
			request, times := proxy.mostFrequent()
			t.Logf("in %s at most %d times: %s", time.Since(begun).Round(100*time.Millisecond), times, request)
			s.Expect(times).To(BeNumerically("<=", atMost), request)

			proxy.setFault(nil)
			s.Eventually(s.readPosture).Should(Equal(posture))
			s.waitUntilReady(s.name)
			t.Logf("as declared %s after the failure began", time.Since(begun).Round(100*time.Millisecond))
		})
	}
	t.Run("nothing can be read, and watches end", func(t *testing.T) {
		s := s.inSubtest(t)
		s.waitUntilQuiet()
		proxy.setFault(nil)
		begun := time.Now()
		proxy.answerReads(answerWith(http.StatusInternalServerError, metav1.StatusReasonInternalError, ""))
		s.driftEverything(node)
		s.Eventually(func() time.Duration { return time.Since(begun) }).Should(BeNumerically(">", lasts))
		s.Expect(s.readPosture()).NotTo(Equal(posture), "the operator repairs nothing without reading")
		request, times := proxy.mostFrequent()
		s.Expect(times).To(BeNumerically("<=", atMost), request)

		proxy.answerReads(nil)
		s.Eventually(s.readPosture).Should(Equal(posture))
		s.waitUntilReady(s.name)
		t.Logf("as declared %s after the failure began", time.Since(begun).Round(100*time.Millisecond))
	})
	t.Run("a policy is created while its finalizer cannot be set", func(t *testing.T) {
		s := s.inSubtest(t)
		late := s.newPolicy()
		late.Name += "-late"
		late.Spec.Network, late.Spec.Services = nil, nil
		late.Spec.Taints = []v1alpha1.Taint{{Key: "late", Effect: corev1.TaintEffectNoSchedule}}
		proxy.setFault(&fault{[]string{"/controlplanenetworkpolicies/" + late.Name}, exceptFor("/status", answerWith(http.StatusInternalServerError, metav1.StatusReasonInternalError, ""))})
		s.createObjects(late)
		s.Eventually(s.conditionOf(late.Name, v1alpha1.ConditionProgrammed)).Should(Equal("False/ApplyFailed"))
		s.Expect(s.messageOf(late.Name, v1alpha1.ConditionReady)).To(ContainSubstring("finalizer"))
		s.Expect(s.readPosture()).To(Equal(posture), "nothing is written without a finalizer")
		proxy.setFault(nil)
		s.waitUntilReady(late.Name)
		s.Expect(s.taintsOf(node)()).To(ContainElement("late:NoSchedule"))
	})

	for _, object := range []string{"Node/" + node, "Service/" + s.name + "/web", "NetworkPolicy/" + s.name + "/cpnp." + s.name + ".coredns"} {
		s.Expect(log.linesWith("Reconciler error", "writing "+object+": injected fault: InternalError")).NotTo(BeEmpty())
	}
	s.Expect(log.linesWith("Reconciler error", "writing the status of policy "+s.name+": injected fault: InternalError")).NotTo(BeEmpty())
}

// Missing rights are reported by name, and used again after their return.
func TestMissingRightsAreReported(t *testing.T) {
	s := beginStory(t)
	node := s.createNodes(1)[0]
	s.createService("web", corev1.ServiceTypeClusterIP)
	s.createObjects(s.newPolicy())
	log := &journal{}
	s.startOperatorAs(s.rights, func(o *ctrl.Options) { o.Logger = log.newLogger() })
	s.waitUntilReady(s.name)
	posture := s.readPosture()
	s.waitUntilQuiet()

	t.Run("but for the status", func(t *testing.T) {
		s := s.inSubtest(t)
		restoreRights := s.removeRights(func(rule rbacv1.PolicyRule) bool {
			return slices.Contains(rule.Verbs, "patch") && !slices.Contains(rule.Resources, "controlplanenetworkpolicies/status")
		})
		mark := s.markAuditLog()
		s.driftEverything(node)
		s.Eventually(s.conditionOf(s.name, v1alpha1.ConditionProgrammed)).Should(Equal("False/ApplyFailed"))
		s.Eventually(func() string { return s.messageOf(s.name, v1alpha1.ConditionReady) }).Should(And(
			ContainSubstring(`nodes "`+node+`" is forbidden`), ContainSubstring(`services "web" is forbidden`), ContainSubstring(`cannot patch resource "networkpolicies"`)))
		restoreRights()
		s.Eventually(s.readPosture).Should(Equal(posture))
		s.waitUntilReady(s.name)
		s.waitUntilQuiet()
		s.Expect(len(s.requestsSince(mark).Repairs)).To(BeNumerically("<=", 3*9), s.requestsSince(mark).String)
	})
	t.Run("with the status", func(t *testing.T) {
		s := s.inSubtest(t)
		binding := &rbacv1.ClusterRoleBinding{}
		s.Expect(s.admin.Get(s.ctx, client.ObjectKey{Name: testbed.ShippedBinding}, binding)).To(Succeed())
		s.Expect(s.admin.Delete(s.ctx, binding)).To(Succeed())
		restoreRights := sync.OnceFunc(func() {
			binding.ResourceVersion, binding.UID = "", ""
			s.Expect(s.admin.Create(context.Background(), binding)).To(Succeed())
		})
		t.Cleanup(restoreRights)
		mark := s.markAuditLog()
		s.driftEverything(node)
		for _, words := range []string{"nodes", "services", "networkpolicies", "controlplanenetworkpolicies"} {
			s.Eventually(func() []string {
				return log.linesWith("Reconciler error", "is forbidden", `cannot patch resource \"`+words)
			}).ShouldNot(BeEmpty(), words)
		}
		restoreRights()
		s.Eventually(s.readPosture).Should(Equal(posture))
		s.waitUntilReady(s.name)
		s.waitUntilQuiet()
		s.Expect(len(s.requestsSince(mark).Repairs)).To(BeNumerically("<=", 3*9), s.requestsSince(mark).String)
		s.Expect(len(s.requestsSince(mark).Status)).To(BeNumerically("<=", 12), s.requestsSince(mark).String)
	})
}

// removeRights removes the matching rights from the operator's role, and returns a function
// to restore the rights. The end of the test also restores the rights.
func (s *story) removeRights(rights func(rbacv1.PolicyRule) bool) (restoreRights func()) {
	s.t.Helper()
	role := &rbacv1.ClusterRole{}
	s.Expect(s.admin.Get(s.ctx, client.ObjectKey{Name: "manager-role"}, role)).To(Succeed())
	all := slices.Clone(role.Rules)
	role.Rules = nil
	for _, rule := range all {
		rule = *rule.DeepCopy()
		if rights(rule) {
			rule.Verbs = slices.DeleteFunc(rule.Verbs, func(verb string) bool { return verb != "list" && verb != "watch" })
		}
		if len(rule.Verbs) > 0 {
			role.Rules = append(role.Rules, rule)
		}
	}
	s.Expect(s.admin.Update(s.ctx, role)).To(Succeed())
	restoreRights = sync.OnceFunc(func() {
		role.Rules = all
		s.Expect(s.admin.Update(context.Background(), role)).To(Succeed())
	})
	s.t.Cleanup(restoreRights)
	return restoreRights
}
