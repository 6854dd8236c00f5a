// SPDX-License-Identifier: Apache-2.0

package stale

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/staleproxy"
)

// refusing refuses writes of the kinds.
func refusing(resources ...string) func(staleproxy.Request) staleproxy.Fate {
	return func(r staleproxy.Request) staleproxy.Fate {
		for _, resource := range resources {
			if r.Resource == resource {
				return staleproxy.Refuse
			}
		}
		return staleproxy.Pass
	}
}

// What cannot be put on record is told, and is tried again soon after it can be.
func TestRecordsThatCannotBeWritten(t *testing.T) {
	s := begin(t)
	s.proxy.Spoil(refusing("controlplanenodeenactments"))
	s.operator()
	s.create(s.policy())
	s.Eventually(s.condition(v1alpha1.ConditionProgrammed)).Should(Equal("False/ApplyFailed"), s.tell)
	s.Eventually(s.condition(v1alpha1.ConditionReady)).Should(Equal("False/ApplyFailed"), s.tell)
	time.Sleep(10 * time.Second) //nolint:forbidigo // until it is tried seldom
	s.proxy.Spoil(nil)
	well := time.Now()
	s.Eventually(s.phase(0)).ShouldNot(Equal("none"), s.tell)
	s.Expect(time.Since(well)).To(BeNumerically("<", 5*time.Second))
	s.ready()
	s.sound()
}

// The annotation that takes everything back is told of at once when it comes and when it
// goes, whatever cannot be written just then; and what the operator takes away is no
// drift.
func TestTakingBackIsToldAtOnce(t *testing.T) {
	const atOnce = 3 * time.Second
	s := begin(t)
	s.operator()
	s.create(s.policy())
	s.ready()
	s.proxy.Spoil(refusing("hostendpoints", "globalnetworkpolicies"))
	s.annotate(v1alpha1.AnnotationRevert, "paged at night")
	s.Eventually(s.condition(v1alpha1.ConditionReady), atOnce).Should(Equal("False/TakenBack"), s.tell)
	s.proxy.Spoil(nil)
	s.Eventually(s.endpoints).Should(BeEmpty(), s.tell)
	s.proxy.Spoil(refusing("globalnetworksets", "tiers", "controlplanenodeenactments"))
	s.annotate(v1alpha1.AnnotationRevert, "")
	s.Eventually(s.condition(v1alpha1.ConditionReady), atOnce).ShouldNot(Equal("False/TakenBack"), s.tell)
	s.proxy.Spoil(nil)
	s.ready()
	policy := s.named()
	s.Expect(admin.Get(context.Background(), client.ObjectKeyFromObject(policy), policy)).To(Succeed())
	s.Expect(policy.Status.LastDrift).To(BeNil())
	s.sound()
}

var staleSeed = flag.Uint64("stale-seed", 1, "of the first weather; 0 takes random ones")

// seeds is how many weathers there are.
const seeds = 2

// watched are the kinds of which watches are held back.
var watched = []string{
	"controlplanenetworkpolicies", "controlplanenodeenactments", "tiers", "globalnetworksets", "globalnetworkpolicies",
	"hostendpoints", "felixconfigurations", "networkpolicies", "nodes", "services", "endpointslices", "apiservices", "clusterinformations",
}

// Whatever watches hold back, answers get lost and writes are refused, at random, while a
// policy comes, changes, is taken back, and goes, and the operator starts anew: no state
// is wrong that the cluster is in, and nothing is left.
func TestWhateverTheWeather(t *testing.T) {
	for i := range uint64(seeds) {
		seed := *staleSeed + i
		if *staleSeed == 0 {
			seed = rand.Uint64()
		}
		t.Run(fmt.Sprintf("stale-seed=%d", seed), func(t *testing.T) {
			s := begin(t)
			random := rand.New(rand.NewPCG(seed, 0))
			s.operator()
			s.create(s.policy())
			s.weather(random, 3*time.Second)
			s.edit(withKubelet)
			s.weather(random, 3*time.Second)
			if random.IntN(2) == 0 {
				s.stop()
				s.operator()
			}
			s.annotate(v1alpha1.AnnotationRevert, "paged at night")
			s.weather(random, time.Second)
			s.annotate(v1alpha1.AnnotationRevert, "")
			s.weather(random, 3*time.Second)
			s.ready()
			s.Expect(admin.Delete(context.Background(), s.named())).To(Succeed())
			s.weather(random, 3*time.Second)
			s.gone()
			s.sound()
		})
	}
}

// weather is bad for some time.
func (s *story) weather(random *rand.Rand, lasts time.Duration) {
	for end := time.Now().Add(lasts); time.Now().Before(end); {
		kind := watched[random.IntN(len(watched))]
		switch random.IntN(6) {
		case 0:
			s.proxy.Cut()
		case 1:
			s.proxy.Spoil(refusing(kind))
		case 2:
			s.proxy.Spoil(func(r staleproxy.Request) staleproxy.Fate {
				if r.Resource == kind {
					return staleproxy.LoseAnswer
				}
				return staleproxy.Pass
			})
		case 3:
			s.proxy.Delay(kind, time.Duration(random.IntN(1500))*time.Millisecond)
		default:
			s.proxy.Freeze(kind)
		}
		time.Sleep(time.Duration(100+random.IntN(900)) * time.Millisecond) //nolint:forbidigo // the weather lasts
		if random.IntN(3) == 0 {
			s.proxy.Thaw()
			s.proxy.Spoil(nil)
		}
	}
	s.proxy.Thaw()
	s.proxy.Spoil(nil)
}
