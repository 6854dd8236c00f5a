// SPDX-License-Identifier: Apache-2.0

package posture_test

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/posture"
)

func TestEachResultCountsOnceAndEachChangeOnce(t *testing.T) {
	g := NewWithT(t)
	var attempts posture.Attempts
	p := input(observed("cp-1"), observed("cp-2")).Postures[0]
	p.UID = "a"
	lose := func(o *v1alpha1.TLSObservation, outcome v1alpha1.TLSOutcome, by time.Duration) {
		o.Time = at(by)
		for i := range o.Results {
			if o.Results[i].Port == 2379 {
				o.Results[i].Outcome = outcome
			}
		}
	}
	g.Expect(attempts.New(&p)).To(BeEmpty(), "attempts before the start were counted before")
	g.Expect(attempts.New(&p)).To(BeEmpty())

	lose(&p.Status.Observers[1], v1alpha1.TLSDropped, 0)
	fresh := attempts.New(&p)
	g.Expect(fresh).To(HaveLen(4), "the new attempts of cp-2")
	var changed []string
	for _, attempt := range fresh {
		g.Expect(attempt.Observer).To(Equal("cp-2"))
		if attempt.Changed {
			changed = append(changed, attempt.Describe())
			g.Expect(attempt.IsReached()).To(BeFalse())
		}
	}
	g.Expect(changed).To(HaveExactElements("etcd on cp-1 (192.0.2.1:2379) from cp-2: Dropped"))
	g.Expect(attempts.New(&p)).To(BeEmpty())

	lose(&p.Status.Observers[1], v1alpha1.TLSRefused, time.Second)
	g.Expect(attempts.New(&p)).To(HaveEach(HaveField("Changed", false)), "the target is still unreachable")
	lose(&p.Status.Observers[1], v1alpha1.TLSOpen, 2*time.Second)
	g.Expect(attempts.New(&p)).To(ContainElement(And(HaveField("Changed", true), HaveField("Result.Outcome", v1alpha1.TLSOpen))))

	lose(&p.Status.Observers[1], v1alpha1.TLSRefused, 2*time.Second)
	p.Status.Observers[1].ObservedGeneration++
	g.Expect(attempts.New(&p)).To(ContainElement(HaveField("Changed", true)), "new targets were probed within the same second")

	p.Status.Observers = append(p.Status.Observers, observed("worker"))
	g.Expect(attempts.New(&p)).To(And(HaveLen(4), HaveEach(HaveField("Changed", false))), "a new observer")
	attempts.KeepOnly(nil)
	g.Expect(attempts.New(&p)).To(BeEmpty(), "the observer's results are not newer")
}

func TestObserversOfDeletedNodesAreRemoved(t *testing.T) {
	g := NewWithT(t)
	p := input(observed("cp-1"), observed("gone"), observed(v1alpha1.ObserverOperator)).Postures[0]
	kept := posture.KeptObservers(&p, sets.New("cp-1", "cp-2"), now)
	g.Expect(kept).To(HaveExactElements(HaveField("Name", "cp-1"), HaveField("Name", "operator")))
	g.Expect(p.Status.Observers).To(HaveLen(3), "the object of the cache is unchanged")
}

func TestStoppedObserversAreRemoved(t *testing.T) {
	g := NewWithT(t)
	old := observed("cp-2")
	old.Time = at(-17 * time.Minute)
	p := input(observed("cp-1"), old).Postures[0]
	g.Expect(posture.KeptObservers(&p, sets.New("cp-1", "cp-2"), now)).To(HaveExactElements(HaveField("Name", "cp-1")))
}

func TestOnlyFreshHandshakesAreReported(t *testing.T) {
	g := NewWithT(t)
	took := func(o v1alpha1.TLSObservation, micros int64) v1alpha1.TLSObservation {
		for i := range o.Results {
			o.Results[i].HandshakeMicroseconds = micros
		}
		return o
	}
	old := took(observed("cp-2"), 1)
	old.Time = at(-17 * time.Minute)
	postures := input(took(observed("cp-1"), 2000), old).Postures
	handshakes := posture.HandshakesOf(postures, now)
	g.Expect(handshakes).To(HaveLen(6))
	g.Expect(handshakes).To(HaveEach(And(HaveField("Observer", "cp-1"), HaveField("Took", 2*time.Millisecond))))
}
