// SPDX-License-Identifier: Apache-2.0

package system

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// wallClock is the clock on the wall, which can be put forward and stopped.
type wallClock struct {
	clock.RealClock
	mu      sync.Mutex
	ahead   time.Duration
	stopped time.Time // zero while it goes
}

func (c *wallClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.stopped.IsZero() {
		return c.stopped
	}
	return c.RealClock.Now().Add(c.ahead)
}

func (c *wallClock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

func (c *wallClock) leap(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

func (c *wallClock) stop() {
	now := c.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = now
}

// resume goes on at the time at which it was stopped.
func (c *wallClock) resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead, c.stopped = c.stopped.Sub(c.RealClock.Now()), time.Time{}
}

// hostile rewrites an object ten times a second under one manager's name, until
// it is stopped.
func (s *story) hostile(object client.Object, body string) (stop func()) {
	ctx, cancel := context.WithCancel(s.ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(100 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				err := admin.Patch(ctx, object, client.RawPatch(types.MergePatchType, []byte(body)), client.FieldOwner("hostile"))
				if err != nil && ctx.Err() == nil {
					s.t.Errorf("rewriting %s: %v", object.GetName(), err)
				}
			}
		}
	}()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	s.t.Cleanup(stop)
	return stop
}

// Somebody who writes the same field again and again is named, and no longer
// answered at once. Nobody else has to wait for that.
func TestHostileWriterIsNamedAndNotRacedWith(t *testing.T) {
	const (
		fights = 4                                  // writes of each object, each after a second
		visits = 8                                  // of others, elsewhere, while no second goes by
		quiet  = 30 * time.Second                   // drift.contestQuiet
		pace   = time.Second - 100*time.Millisecond // drift.contestedInterval, less what the clock may be set by
	)
	s := begin(t)
	wall := &wallClock{}
	s.clock = wall
	nodes := s.nodes(2)
	s.service("web", corev1.ServiceTypeClusterIP)
	s.service("calm", corev1.ServiceTypeClusterIP)
	policy := s.policy()
	calm := s.coredns()
	calm.Name, calm.Pods.Selector.MatchLabels = "calm", map[string]v1alpha1.LabelValue{"k8s-app": "calm"}
	policy.Spec.Network.Components = append(policy.Spec.Network.Components, calm)
	s.create(policy)
	s.operator()
	s.ready(s.name)
	s.quiet()
	posture := s.posture()

	begun := time.Now()
	taint := `{"spec":{"taints":[{"key":"` + dedicated + `","effect":"NoSchedule","value":"no"}]}}`
	stops := []func(){
		s.hostile(s.node(nodes[0]), taint),
		s.hostile(s.serviceNow("web"), `{"spec":{"internalTrafficPolicy":"Cluster"}}`),
		s.hostile(s.networkPolicyOf("coredns"), `{"spec":{"ingress":[{}]}}`),
	}
	objects := map[string]string{"Node": nodes[0], "Service": "web", "NetworkPolicy": s.networkPolicyOf("coredns").Name}
	resources := map[string]string{"Node": "nodes", "Service": "services", "NetworkPolicy": "networkpolicies"}
	s.Eventually(s.contested(s.name)).Should(And(HaveKeyWithValue("Node", objects["Node"]),
		HaveKeyWithValue("Service", objects["Service"]), HaveKeyWithValue("NetworkPolicy", objects["NetworkPolicy"])))
	t.Logf("noticed after %s", time.Since(begun).Round(100*time.Millisecond))
	s.Expect(s.condition(s.name, v1alpha1.ConditionDrifted)()).To(Equal("True/Contested"))
	s.Expect(s.message(s.name, v1alpha1.ConditionReady)).To(ContainSubstring("again and again by hostile"))

	mark := s.mark()
	for kind, resource := range resources {
		var fight []testbed.AuditEvent
		s.Eventually(func() int { fight = s.written(mark, resource, objects[kind]); return len(fight) }).Should(BeNumerically(">=", fights), kind)
		s.Expect(fastest(fight, pace)).To(Equal(1), "of a %s: %s", kind, requests{Repairs: fight})
	}

	// At the pace of what is contested nothing would be written any more.
	wall.stop()
	mark = s.mark()
	var took []time.Duration
	for i := range visits {
		took = append(took, s.repairTime(fmt.Sprintf("visitor-%d", i), posture, nodes[1], "calm"))
	}
	for kind, resource := range resources {
		s.Expect(len(s.written(mark, resource, objects[kind]))).To(BeNumerically("<=", 1), kind)
	}
	wall.resume()
	slices.Sort(took)
	t.Logf("what was not contested was repaired in %s (the median), and at most %s",
		took[visits/2].Round(time.Millisecond), took[visits-1].Round(time.Millisecond))

	for _, stop := range stops {
		stop()
	}
	s.Eventually(s.posture).Should(Equal(posture), "the last word is the operator's")
	s.quiet()
	s.Expect(s.condition(s.name, v1alpha1.ConditionDrifted)()).To(Equal("True/Contested"), "it may begin again")
	wall.leap(quiet - 5*time.Second)
	s.join("10.77.0.99", testbed.Taints(corev1.Taint{Key: dedicated, Effect: corev1.TaintEffectNoSchedule})) // has it look at the clock
	s.ready(s.name)
	s.Expect(s.contested(s.name)()).To(BeEmpty())
}

// repairTime returns how long the operator takes to put right a taint, a Service
// and a NetworkPolicy that a visitor changes.
func (s *story) repairTime(visitor string, posture map[string]any, node, service string) time.Duration {
	s.t.Helper()
	since := time.Now()
	s.patch(s.node(node), visitor, `{"spec":{"taints":null}}`)
	s.patch(s.serviceNow(service), visitor, `{"spec":{"internalTrafficPolicy":"Cluster"}}`)
	s.patch(s.networkPolicyOf("calm"), visitor, `{"spec":{"ingress":[{}]}}`)
	calm := func() []any {
		now := s.posture()
		return []any{now["Node/"+node], now["Service/"+service], now["NetworkPolicy/cpnp."+s.name+".calm"]}
	}
	s.Eventually(calm).Should(Equal([]any{posture["Node/"+node], posture["Service/"+service], posture["NetworkPolicy/cpnp."+s.name+".calm"]}))
	return time.Since(since)
}

// written returns the operator's writes of one object after the mark.
func (s *story) written(mark testbed.Mark, resource, name string) []testbed.AuditEvent {
	s.t.Helper()
	return slices.DeleteFunc(s.requestsSince(mark).Repairs, func(e testbed.AuditEvent) bool {
		return e.Resource != resource || e.Name != name || e.Code >= http.StatusMultipleChoices
	})
}

// contested returns the objects that are fought over, by kind.
func (s *story) contested(policy string) func() map[string]string {
	return func() map[string]string {
		objects := map[string]string{}
		for _, d := range s.get(policy).Status.Drift {
			if d.State == v1alpha1.StateContested && d.Manager == "hostile" {
				objects[d.Kind] = d.Name
			}
		}
		return objects
	}
}
