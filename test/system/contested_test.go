// SPDX-License-Identifier: Apache-2.0

package system

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
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

// leapingClock is the clock on the wall, put forward.
type leapingClock struct {
	clock.RealClock
	ahead atomic.Int64
}

func (c *leapingClock) Now() time.Time                  { return c.RealClock.Now().Add(time.Duration(c.ahead.Load())) }
func (c *leapingClock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }
func (c *leapingClock) leap(d time.Duration)            { c.ahead.Add(int64(d)) }

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
		window = 4 * time.Second  // of rewriting after it has been noticed
		visits = 8                // of others, elsewhere, in that time
		quiet  = 30 * time.Second // drift.contestQuiet
		slow   = time.Second      // drift.contestedInterval
		soon   = window / visits  // at the contested pace, the next visit would come first
	)
	s := begin(t)
	wall := &leapingClock{}
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

	begun, contest := time.Now(), s.mark()
	taint := `{"spec":{"taints":[{"key":"` + dedicated + `","effect":"NoSchedule","value":"no"}]}}`
	stops := []func(){
		s.hostile(s.node(nodes[0]), taint),
		s.hostile(s.serviceNow("web"), `{"spec":{"internalTrafficPolicy":"Cluster"}}`),
		s.hostile(s.networkPolicyOf("coredns"), `{"spec":{"ingress":[{}]}}`),
	}
	objects := map[string]string{"Node": nodes[0], "Service": "web", "NetworkPolicy": s.networkPolicyOf("coredns").Name}
	s.Eventually(s.contested(s.name)).WithTimeout(5 * time.Second).Should(And(HaveKeyWithValue("Node", objects["Node"]),
		HaveKeyWithValue("Service", objects["Service"]), HaveKeyWithValue("NetworkPolicy", objects["NetworkPolicy"])))
	noticed := time.Since(begun)
	s.Expect(s.condition(s.name, v1alpha1.ConditionDrifted)()).To(Equal("True/Contested"))
	s.Expect(s.message(s.name, v1alpha1.ConditionReady)).To(ContainSubstring("set by hostile"))

	mark, took := s.mark(), []time.Duration{}
	ticker := time.NewTicker(window / visits)
	defer ticker.Stop()
	for i := range visits {
		<-ticker.C
		took = append(took, s.repairTime(fmt.Sprintf("visitor-%d", i), posture, nodes[1], "calm"))
	}
	slices.Sort(took)
	// A single one may be slow on a machine that has other things to do too.
	s.Expect(took[visits/2]).To(BeNumerically("<", soon), "what is not contested is repaired at full speed: %s", took)
	s.Expect(took[visits-1]).To(BeNumerically("<", slow), "what is not contested is repaired at full speed: %s", took)
	fight := s.requestsSince(mark)
	most := int(window/time.Second) + 1
	for kind, resource := range map[string]string{"Node": "nodes", "Service": "services", "NetworkPolicy": "networkpolicies"} {
		count := len(of(fight.Repairs, resource, objects[kind]))
		s.Expect(count).To(And(BeNumerically(">=", most-3), BeNumerically("<=", most)), fmt.Sprint(kind, ": ", fight))
		t.Logf("%s: %d writes in %s of rewriting at 10 Hz, noticed after %s with %d", kind, count, window,
			noticed.Round(100*time.Millisecond), len(of(s.requestsSince(contest).Repairs, resource, objects[kind]))-count)
	}
	t.Logf("what was not contested was repaired in at most %s", took[visits-1].Round(time.Millisecond))

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

// of returns the requests about one object.
func of(requests []testbed.AuditEvent, resource, name string) []testbed.AuditEvent {
	return slices.DeleteFunc(slices.Clone(requests), func(e testbed.AuditEvent) bool { return e.Resource != resource || e.Name != name })
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
