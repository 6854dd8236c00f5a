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

// What the operator writes, as it appears in paths.
var (
	writesOfObjects = []string{"/nodes/", "/services/", "/networkpolicies/"}
	writesOfAll     = append([]string{"/controlplanenetworkpolicies/", "/events"}, writesOfObjects...)
)

// disturb makes one drift of every kind. Somebody else does each time: one who does
// the same again and again is contested.
func (s *story) disturb(node string) {
	s.t.Helper()
	somebody := "mallory-" + rand.Text()
	s.patch(s.node(node), somebody, `{"spec":{"taints":[{"key":"`+dedicated+`","effect":"NoSchedule","value":"no"}]}}`)
	s.patch(s.serviceNow("web"), somebody, `{"spec":{"internalTrafficPolicy":"Cluster"}}`)
	s.patch(s.networkPolicyOf("coredns"), somebody, `{"spec":{"ingress":[{}]}}`)
}

// An API server that refuses, or does not answer, is told of and waited for.
func TestBadWeatherPasses(t *testing.T) {
	const (
		lasts = 3 * time.Second
		// Retries begin at 100 ms and take twice as long each time, after at
		// most five conflicts; the status has its own pace.
		atMost = 12
	)
	s := begin(t)
	node := s.nodes(1)[0]
	s.service("web", corev1.ServiceTypeClusterIP)
	s.create(s.policy())
	sky, log := newWeather(t, operatorConfig), &journal{}
	s.operatorAs(sky.config(), func(o *ctrl.Options) {
		o.Controller.ReconciliationTimeout = 2 * time.Second
		o.Logger = log.logger()
	})
	s.ready(s.name)
	posture := s.posture()

	for _, weather := range []struct {
		name  string
		fault fault
		told  string // in the condition Programmed; empty if there need be no word of it
	}{
		{"conflicts without end", fault{writesOfObjects, answering(http.StatusConflict, metav1.StatusReasonConflict, "")}, "bad weather: Conflict"},
		{"too many requests", fault{writesOfObjects, answering(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests, "1")}, "Service"},
		{"internal errors", fault{writesOfObjects, answering(http.StatusInternalServerError, metav1.StatusReasonInternalError, "")}, "bad weather: InternalError"},
		{"no answers", fault{writesOfObjects, hanging}, "no answer from the API server: context deadline exceeded"},
		{"answers that get lost", fault{writesOfObjects, losing}, ""},
		{"nothing can be written at all", fault{writesOfAll, answering(http.StatusInternalServerError, metav1.StatusReasonInternalError, "")}, ""},
	} {
		t.Run(weather.name, func(t *testing.T) {
			s := s.in(t)
			s.quiet()
			sky.turn(&weather.fault)
			begun := time.Now()
			s.disturb(node)
			if weather.told != "" {
				s.Eventually(s.condition(s.name, v1alpha1.ConditionProgrammed)).Should(Equal("False/ApplyFailed"))
				s.Eventually(func() string { return s.message(s.name, v1alpha1.ConditionProgrammed) }).Should(And(
					ContainSubstring(weather.told), ContainSubstring("Node/"), ContainSubstring("Service/"), ContainSubstring("NetworkPolicy/")))
			}
			s.Eventually(func() time.Duration { return time.Since(begun) }).Should(BeNumerically(">", lasts))
			request, times := sky.most()
			t.Logf("in %s at most %d times: %s", time.Since(begun).Round(100*time.Millisecond), times, request)
			s.Expect(times).To(BeNumerically("<=", atMost), request)

			sky.turn(nil)
			s.Eventually(s.posture).Should(Equal(posture))
			s.ready(s.name)
			t.Logf("as declared %s after it began", time.Since(begun).Round(100*time.Millisecond))
		})
	}
	t.Run("nothing can be read, and watches end", func(t *testing.T) {
		s := s.in(t)
		s.quiet()
		sky.turn(nil)
		begun := time.Now()
		sky.darken(answering(http.StatusInternalServerError, metav1.StatusReasonInternalError, ""))
		s.disturb(node)
		s.Eventually(func() time.Duration { return time.Since(begun) }).Should(BeNumerically(">", lasts))
		s.Expect(s.posture()).NotTo(Equal(posture), "nobody sees what happened")
		request, times := sky.most()
		s.Expect(times).To(BeNumerically("<=", atMost), request)

		sky.darken(nil)
		s.Eventually(s.posture).Should(Equal(posture))
		s.ready(s.name)
		t.Logf("as declared %s after it began", time.Since(begun).Round(100*time.Millisecond))
	})
	t.Run("a policy comes when its finalizer can not be set", func(t *testing.T) {
		s := s.in(t)
		late := s.policy()
		late.Name += "-late"
		late.Spec.Network, late.Spec.Services = nil, nil
		late.Spec.Taints = []v1alpha1.Taint{{Key: "late", Effect: corev1.TaintEffectNoSchedule}}
		sky.turn(&fault{[]string{"/controlplanenetworkpolicies/" + late.Name}, but("/status", answering(http.StatusInternalServerError, metav1.StatusReasonInternalError, ""))})
		s.create(late)
		s.Eventually(s.condition(late.Name, v1alpha1.ConditionProgrammed)).Should(Equal("False/ApplyFailed"))
		s.Expect(s.message(late.Name, v1alpha1.ConditionReady)).To(ContainSubstring("finalizer"))
		s.Expect(s.posture()).To(Equal(posture), "nothing is written that would not be taken back")
		sky.turn(nil)
		s.ready(late.Name)
		s.Expect(s.taints(node)()).To(ContainElement("late:NoSchedule"))
	})

	for _, object := range []string{"Node/" + node, "Service/" + s.name + "/web", "NetworkPolicy/" + s.name + "/cpnp." + s.name + ".coredns"} {
		s.Expect(log.with("Reconciler error", "writing "+object+": bad weather: InternalError")).NotTo(BeEmpty())
	}
	s.Expect(log.with("Reconciler error", "writing the status of policy "+s.name+": bad weather: InternalError")).NotTo(BeEmpty())
}

// Rights that are taken away are missed, named, and used again when they are
// given back.
func TestRightsThatAreTakenAwayAreMissed(t *testing.T) {
	s := begin(t)
	node := s.nodes(1)[0]
	s.service("web", corev1.ServiceTypeClusterIP)
	s.create(s.policy())
	log := &journal{}
	s.operatorAs(operatorConfig, func(o *ctrl.Options) { o.Logger = log.logger() })
	s.ready(s.name)
	posture := s.posture()
	s.quiet()

	t.Run("but for the status", func(t *testing.T) {
		s := s.in(t)
		giveBack := s.takeAway(func(rule rbacv1.PolicyRule) bool {
			return slices.Contains(rule.Verbs, "patch") && !slices.Contains(rule.Resources, "controlplanenetworkpolicies/status")
		})
		mark := s.mark()
		s.disturb(node)
		s.Eventually(s.condition(s.name, v1alpha1.ConditionProgrammed)).Should(Equal("False/ApplyFailed"))
		s.Eventually(func() string { return s.message(s.name, v1alpha1.ConditionReady) }).Should(And(
			ContainSubstring(`nodes "`+node+`" is forbidden`), ContainSubstring(`services "web" is forbidden`), ContainSubstring(`cannot patch resource "networkpolicies"`)))
		giveBack()
		s.Eventually(s.posture).Should(Equal(posture))
		s.ready(s.name)
		s.quiet()
		s.Expect(len(s.requestsSince(mark).Repairs)).To(BeNumerically("<=", 3*9), s.requestsSince(mark).String)
	})
	t.Run("with the status", func(t *testing.T) {
		s := s.in(t)
		binding := &rbacv1.ClusterRoleBinding{}
		s.Expect(admin.Get(s.ctx, client.ObjectKey{Name: testbed.ShippedBinding}, binding)).To(Succeed())
		s.Expect(admin.Delete(s.ctx, binding)).To(Succeed())
		giveBack := sync.OnceFunc(func() {
			binding.ResourceVersion, binding.UID = "", ""
			s.Expect(admin.Create(context.Background(), binding)).To(Succeed())
		})
		t.Cleanup(giveBack)
		mark := s.mark()
		s.disturb(node)
		for _, words := range []string{"nodes", "services", "networkpolicies", "controlplanenetworkpolicies"} {
			s.Eventually(func() []string { return log.with("Reconciler error", "is forbidden", `cannot patch resource \"`+words) }).ShouldNot(BeEmpty(), words)
		}
		giveBack()
		s.Eventually(s.posture).Should(Equal(posture))
		s.ready(s.name)
		s.quiet()
		s.Expect(len(s.requestsSince(mark).Repairs)).To(BeNumerically("<=", 3*9), s.requestsSince(mark).String)
		s.Expect(len(s.requestsSince(mark).Status)).To(BeNumerically("<=", 12), s.requestsSince(mark).String)
	})
}

// takeAway takes those rights from the operator's role. It returns what gives
// them back, which is also done when the test ends.
func (s *story) takeAway(rights func(rbacv1.PolicyRule) bool) (giveBack func()) {
	s.t.Helper()
	role := &rbacv1.ClusterRole{}
	s.Expect(admin.Get(s.ctx, client.ObjectKey{Name: "manager-role"}, role)).To(Succeed())
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
	s.Expect(admin.Update(s.ctx, role)).To(Succeed())
	giveBack = sync.OnceFunc(func() {
		role.Rules = all
		s.Expect(admin.Update(context.Background(), role)).To(Succeed())
	})
	s.t.Cleanup(giveBack)
	return giveBack
}
