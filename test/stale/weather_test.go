// SPDX-License-Identifier: Apache-2.0

package stale

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/staleproxy"
)

// refusing refuses writes of the kinds.
func refusing(resources ...string) func(staleproxy.Request) staleproxy.Fate {
	return meeting(staleproxy.Refuse, resources...)
}

// meeting gives writes of the kinds a fate.
func meeting(fate staleproxy.Fate, resources ...string) func(staleproxy.Request) staleproxy.Fate {
	return func(r staleproxy.Request) staleproxy.Fate {
		if slices.Contains(resources, r.Resource) {
			return fate
		}
		return staleproxy.Pass
	}
}

// An enactment that cannot be written is reported, and written soon after that is possible again.
func TestRecordsThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	s := begin(t)
	var last atomic.Int64
	refuse := refusing("controlplanenodeenactments")
	s.proxy.Spoil(func(r staleproxy.Request) staleproxy.Fate {
		fate := refuse(r)
		if fate == staleproxy.Refuse {
			last.Store(time.Now().UnixNano())
		}
		return fate
	})
	s.start()
	s.create(s.policy())
	s.Eventually(s.condition(v1alpha1.ConditionProgrammed)).Should(Equal("False/ApplyFailed"), s.tell)
	s.Eventually(s.condition(v1alpha1.ConditionReady)).Should(Equal("False/ApplyFailed"), s.tell)
	s.Eventually(func() time.Duration { return time.Since(time.Unix(0, last.Load())) }).Should(BeNumerically(">", 2*time.Second), "the write is retried at growing intervals")
	s.proxy.Spoil(nil)
	well := time.Now()
	s.Eventually(s.phase(0)).ShouldNot(Equal("none"), s.tell)
	s.Expect(time.Since(well)).To(BeNumerically("<", 5*time.Second))
	s.ready()
	s.expectSound()
}

// A rollback by annotation is reported at once when the annotation is set and when it is
// removed, whichever writes fail at that time. Removals by the operator itself are no drift.
func TestRollBackIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	const atOnce = 3 * time.Second
	s := begin(t)
	s.start()
	s.create(s.policy())
	s.ready()
	s.proxy.Spoil(refusing("hostendpoints", "globalnetworkpolicies"))
	s.annotate(v1alpha1.AnnotationRevert, "paged at night")
	s.Eventually(s.condition(v1alpha1.ConditionReady), atOnce).Should(Equal("False/RolledBack"), s.tell)
	s.proxy.Spoil(nil)
	s.Eventually(s.endpoints).Should(BeEmpty(), s.tell)
	s.proxy.Spoil(refusing("globalnetworksets", "tiers", "controlplanenodeenactments"))
	s.annotate(v1alpha1.AnnotationRevert, "")
	s.Eventually(s.condition(v1alpha1.ConditionReady), atOnce).ShouldNot(Equal("False/RolledBack"), s.tell)
	s.proxy.Spoil(nil)
	s.ready()
	policy := s.named()
	s.Expect(s.admin.Get(context.Background(), client.ObjectKeyFromObject(policy), policy)).To(Succeed())
	s.Expect(policy.Status.LastDrift).To(BeNil())
	s.expectSound()
}

var weathers = flag.Int("weathers", 1, "how many random weathers there are")

// While a policy is created, changed, rolled back and deleted, and the operator restarts, watches lag, answers are
// lost and writes are refused, at random. The cluster never gets into a wrong state, and nothing is left in the end.
func TestWhateverTheWeather(t *testing.T) {
	t.Parallel()
	for i := range uint64(*weathers) {
		seed := *seed + i
		t.Run(fmt.Sprintf("stale-seed=%d", seed), func(t *testing.T) {
			s := begin(t)
			random := rand.New(rand.NewPCG(seed, 0))
			s.start()
			s.create(s.policy())
			s.weather(random, 3*time.Second)
			s.edit(s.newRules())
			s.weather(random, 3*time.Second)
			if random.IntN(2) == 0 {
				s.stop()
				s.start()
			}
			s.annotate(v1alpha1.AnnotationRevert, "paged at night")
			s.weather(random, time.Second)
			s.annotate(v1alpha1.AnnotationRevert, "")
			s.weather(random, 3*time.Second)
			s.ready()
			s.Expect(s.admin.Delete(context.Background(), s.named())).To(Succeed())
			s.weather(random, 3*time.Second)
			s.gone()
			s.expectSound()
		})
	}
}

// weather causes random faults for some time.
func (s *story) weather(random *rand.Rand, lasts time.Duration) {
	watched := slices.Concat(moving, still)
	for end := time.Now().Add(lasts); time.Now().Before(end); {
		kind := watched[random.IntN(len(watched))]
		switch random.IntN(6) {
		case 0:
			s.proxy.Cut()
		case 1:
			s.proxy.Spoil(refusing(kind))
		case 2:
			s.proxy.Spoil(meeting(staleproxy.LoseAnswer, kind))
		case 3:
			s.proxy.Delay(kind, time.Duration(random.IntN(1500))*time.Millisecond)
		default:
			s.proxy.Freeze(kind)
		}
		s.lasts(time.Duration(100+random.IntN(900)) * time.Millisecond)
		if random.IntN(3) == 0 {
			s.proxy.Thaw()
			s.proxy.Spoil(nil)
		}
	}
	s.proxy.Thaw()
	s.proxy.Spoil(nil)
}
