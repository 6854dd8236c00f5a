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

// wallClock is a wall clock that can be set ahead and stopped.
type wallClock struct {
	clock.RealClock
	mu      sync.Mutex
	ahead   time.Duration
	stopped time.Time // zero while the clock runs
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

func (c *wallClock) leapBy(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

func (c *wallClock) stopClock() {
	now := c.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = now
}

// resumeClock continues at the time of the stop.
func (c *wallClock) resumeClock() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead, c.stopped = c.stopped.Sub(c.RealClock.Now()), time.Time{}
}

// startHostileWriter rewrites an object ten times a second under one manager's name, until
// the writer is stopped.
func (s *story) startHostileWriter(object client.Object, body string) (stop func()) {
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
				err := s.admin.Patch(ctx, object, client.RawPatch(types.MergePatchType, []byte(body)), client.FieldOwner("hostile"))
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

// A manager that rewrites the same field again and again is named, and its changes are no
// longer repaired at once. Other managers' changes are still repaired at once.
func TestHostileWriterIsNamedAndNotRacedWith(t *testing.T) {
	const (
		contests = 4                                  // writes of each object, each after a second
		visits   = 8                                  // changes of other objects by other managers, within the same second
		quiet    = 30 * time.Second                   // drift.contestQuiet
		pace     = time.Second - 100*time.Millisecond // drift.contestedInterval, less than the largest correction of the clock
	)
	s := beginStory(t)
	wall := &wallClock{}
	s.clock = wall
	nodes := s.createNodes(2)
	s.createService("web", corev1.ServiceTypeClusterIP)
	s.createService("calm", corev1.ServiceTypeClusterIP)
	policy := s.newPolicy()
	calm := s.corednsComponent()
	calm.Name, calm.Pods.Selector.MatchLabels = "calm", map[string]v1alpha1.LabelValue{"k8s-app": "calm"}
	policy.Spec.Network.Components = append(policy.Spec.Network.Components, calm)
	s.createObjects(policy)
	s.startOperator()
	s.waitUntilReady(s.name)
	s.waitUntilQuiet()
	posture := s.readPosture()

	begun := time.Now()
	taint := `{"spec":{"taints":[{"key":"` + dedicated + `","effect":"NoSchedule","value":"no"}]}}`
	stops := []func(){
		s.startHostileWriter(s.getNode(nodes[0]), taint),
		s.startHostileWriter(s.getService("web"), `{"spec":{"internalTrafficPolicy":"Cluster"}}`),
		s.startHostileWriter(s.networkPolicyOf("coredns"), `{"spec":{"ingress":[{}]}}`),
	}
	objects := map[string]string{"Node": nodes[0], "Service": "web", "NetworkPolicy": s.networkPolicyOf("coredns").Name}
	resources := map[string]string{"Node": "nodes", "Service": "services", "NetworkPolicy": "networkpolicies"}
	s.Eventually(s.contestedObjects(s.name)).Should(And(HaveKeyWithValue("Node", objects["Node"]),
		HaveKeyWithValue("Service", objects["Service"]), HaveKeyWithValue("NetworkPolicy", objects["NetworkPolicy"])))
	t.Logf("noticed after %s", time.Since(begun).Round(100*time.Millisecond))
	s.Expect(s.conditionOf(s.name, v1alpha1.ConditionDrifted)()).To(Equal("True/Contested"))
	s.Expect(s.messageOf(s.name, v1alpha1.ConditionReady)).To(ContainSubstring("again and again by hostile"))

	mark := s.markAuditLog()
	for kind, resource := range resources {
		var contest []testbed.AuditEvent
		s.Eventually(func() int { contest = s.writesOf(mark, resource, objects[kind]); return len(contest) }).Should(BeNumerically(">=", contests), kind)
		s.Expect(mostWithin(contest, pace)).To(Equal(1), "of a %s: %s", kind, requests{Repairs: contest})
	}

	// At the pace of contested fields, nothing would be written any more.
	wall.stopClock()
	mark = s.markAuditLog()
	var took []time.Duration
	for i := range visits {
		took = append(took, s.timeOfRepair(fmt.Sprintf("visitor-%d", i), posture, nodes[1], "calm"))
	}
	for kind, resource := range resources {
		s.Expect(len(s.writesOf(mark, resource, objects[kind]))).To(BeNumerically("<=", 1), kind)
	}
	wall.resumeClock()
	slices.Sort(took)
	t.Logf("uncontested drift was repaired in %s (the median), and at most %s",
		took[visits/2].Round(time.Millisecond), took[visits-1].Round(time.Millisecond))

	for _, stop := range stops {
		stop()
	}
	s.Eventually(s.readPosture).Should(Equal(posture), "the operator writes last")
	s.waitUntilQuiet()
	s.Expect(s.conditionOf(s.name, v1alpha1.ConditionDrifted)()).To(Equal("True/Contested"), "the contest may be reported again")
	wall.leapBy(quiet - 5*time.Second)
	s.joinNode("10.77.0.99", testbed.Taints(corev1.Taint{Key: dedicated, Effect: corev1.TaintEffectNoSchedule})) // makes the operator read the clock
	s.waitUntilReady(s.name)
	s.Expect(s.contestedObjects(s.name)()).To(BeEmpty())
}

// timeOfRepair returns how long the operator takes to repair a taint, a Service and a
// NetworkPolicy after a visitor's change.
func (s *story) timeOfRepair(visitor string, posture map[string]any, node, service string) time.Duration {
	s.t.Helper()
	since := time.Now()
	s.patchObject(s.getNode(node), visitor, `{"spec":{"taints":null}}`)
	s.patchObject(s.getService(service), visitor, `{"spec":{"internalTrafficPolicy":"Cluster"}}`)
	s.patchObject(s.networkPolicyOf("calm"), visitor, `{"spec":{"ingress":[{}]}}`)
	calm := func() []any {
		now := s.readPosture()
		return []any{now["Node/"+node], now["Service/"+service], now["NetworkPolicy/cpnp."+s.name+".calm"]}
	}
	s.Eventually(calm).Should(Equal([]any{posture["Node/"+node], posture["Service/"+service], posture["NetworkPolicy/cpnp."+s.name+".calm"]}))
	return time.Since(since)
}

// writesOf returns the operator's writes of one object after the mark.
func (s *story) writesOf(mark testbed.Mark, resource, name string) []testbed.AuditEvent {
	s.t.Helper()
	return slices.DeleteFunc(s.requestsSince(mark).Repairs, func(e testbed.AuditEvent) bool {
		return e.Resource != resource || e.Name != name || e.Code >= http.StatusMultipleChoices
	})
}

// contestedObjects returns the contested objects, by kind.
func (s *story) contestedObjects(policy string) func() map[string]string {
	return func() map[string]string {
		objects := map[string]string{}
		for _, d := range s.getPolicy(policy).Status.Drift {
			if d.State == v1alpha1.StateContested && d.Manager == "hostile" {
				objects[d.Kind] = d.Name
			}
		}
		return objects
	}
}
