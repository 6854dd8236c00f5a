// SPDX-License-Identifier: Apache-2.0

package drift_test

import (
	"errors"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/internal/drift"
)

var node = drift.Object{Kind: "Node", Name: "cp-1"}

func TestWriteIsWaitedForUntilTheCacheShowsIt(t *testing.T) {
	s := begin(t)
	s.Expect(s.UnseenFor(service, "7", s.now)).To(BeZero(), "no write yet")
	s.RecordWrite(service, "7", []string{"p"}, s.now)
	s.Expect(s.UnseenFor(service, "7", s.now)).To(Equal(time.Second), "the cache still shows the version before the write")
	s.now = s.now.Add(400 * time.Millisecond)
	s.Expect(s.UnseenFor(service, "7", s.now)).To(Equal(600 * time.Millisecond))
	s.Expect(s.UnseenFor(node, "7", s.now)).To(BeZero(), "another object")

	s.Expect(s.UnseenFor(service, "8", s.now)).To(BeZero(), "the cache shows a new version")
	s.Expect(s.UnseenFor(service, "7", s.now)).To(BeZero(), "a write that was seen once stays seen")
}

func TestWaitForAWriteEnds(t *testing.T) {
	s := begin(t)
	s.RecordWrite(service, "7", []string{"p"}, s.now)
	s.now = s.now.Add(time.Second)
	s.Expect(s.UnseenFor(service, "7", s.now)).To(BeZero(), "the write is repeated")
	s.RecordWrite(service, "7", []string{"p"}, s.now)
	s.Expect(s.UnseenFor(service, "7", s.now)).To(Equal(time.Second))
}

func TestCacheIsStaleUntilItShowsAnotherVersion(t *testing.T) {
	s := begin(t)
	s.Expect(s.IsStale(service, "")).To(BeFalse(), "no write yet")
	s.RecordWrite(service, "", []string{"p"}, s.now)
	s.now = s.now.Add(time.Hour)
	s.Expect(s.UnseenFor(service, "", s.now)).To(BeZero())
	s.Expect(s.IsStale(service, "")).To(BeTrue(), "without a time limit")
	s.Expect(s.IsStale(node, "")).To(BeFalse(), "another object")
	s.Expect(s.UnseenFor(service, "1", s.now)).To(BeZero())
	s.Expect(s.IsStale(service, "")).To(BeFalse(), "the object was seen, and deleted since")
	s.RecordWrite(service, "", []string{"p"}, s.now)
	s.RecordSettled(service, s.now)
	s.Expect(s.IsStale(service, "")).To(BeFalse(), "the cache showed the new version")
}

func TestCreationIsWaitedForToo(t *testing.T) {
	s := begin(t)
	s.RecordWrite(service, "", []string{"p"}, s.now)
	s.Expect(s.UnseenFor(service, "", s.now)).To(Equal(time.Second))
	s.Expect(s.UnseenFor(service, "1", s.now)).To(BeZero())
}

func TestConflictsAreCountedUntilAWriteSucceedsOrNoneIsNeeded(t *testing.T) {
	s := begin(t)
	for want := 1; want <= 3; want++ {
		s.Expect(s.RecordConflict(service)).To(Equal(want))
	}
	s.Expect(s.RecordConflict(node)).To(Equal(1), "each object has its own count")
	s.RecordWrite(service, "7", []string{"p"}, s.now)
	s.Expect(s.RecordConflict(service)).To(Equal(1))
	s.RecordSettled(service, s.now)
	s.Expect(s.RecordConflict(service)).To(Equal(1))
}

func TestSettledReturnsThePoliciesWhoseFailuresEnd(t *testing.T) {
	s := begin(t)
	s.Expect(s.RecordSettled(service, s.now)).To(BeEmpty(), "the object has no failures")
	s.RecordFailure(service, []string{"q", "p"}, errors.New("forbidden"), s.now)
	s.Expect(s.RecordSettled(service, s.now)).To(Equal([]string{"p", "q"}))
	s.Expect(s.RecordSettled(service, s.now)).To(BeEmpty(), "once")
	s.Expect(s.Remembered()).To(BeZero())
}

func TestHistoryMeasuresForHowLongWritesFail(t *testing.T) {
	s := begin(t)
	s.Expect(s.FailingFor(service, s.now)).To(BeZero())
	for range 3 {
		s.RecordFailure(service, []string{"p"}, errors.New("forbidden"), s.now)
		s.now = s.now.Add(time.Minute)
	}
	s.Expect(s.FailingFor(service, s.now)).To(Equal(3 * time.Minute))
	s.RecordRepair(service, nil, s.now)
	s.Expect(s.FailingFor(service, s.now)).To(BeZero())
	s.RecordFailure(service, []string{"p"}, errors.New("forbidden"), s.now)
	s.Expect(s.FailingFor(service, s.now.Add(time.Second))).To(Equal(time.Second), "the duration starts again")
}

// TestObjectThatDoesNotDifferAnyMoreIsSettled: a policy's reconciler passes only
// the objects that differ, so an object that is absent from the list is settled.
func TestObjectThatDoesNotDifferAnyMoreIsSettled(t *testing.T) {
	drifted := rewritten("f", "kubectl")
	made := map[string]func(*story){
		"a failure":  func(s *story) { s.RecordFailure(service, []string{"p"}, errors.New("forbidden"), s.now) },
		"a write":    func(s *story) { s.RecordWrite(service, "7", []string{"p"}, s.now) },
		"open drift": func(s *story) { s.sees(drifted) },
	}
	tests := map[string]struct {
		policy, kind string
		differing    []drift.Object
		settles      bool
	}{
		"nothing differs":                       {"p", "Service", nil, true},
		"other objects of the kind differ":      {"p", "Service", []drift.Object{node, {Kind: "Service", Name: "other"}}, true},
		"the object still differs":              {"p", "Service", []drift.Object{service}, false},
		"objects of another kind were compared": {"p", "Node", nil, false},
		"the object is of another policy":       {"q", "Service", nil, false},
	}
	for what, happen := range made {
		for name, test := range tests {
			t.Run(what+", "+name, func(t *testing.T) {
				s := begin(t)
				happen(s)
				s.SettleOthers(test.policy, test.kind, test.differing, s.now)
				s.now = s.now.Add(7 * time.Hour)
				s.SettleOthers("unknown", "Service", nil, s.now)
				s.Summarize("p", s.now) // drops expired entries
				s.Expect(s.Remembered() == 0).To(Equal(test.settles))
			})
		}
	}
}

func TestDriftIsFreshAgainAfterTheObjectWasSettled(t *testing.T) {
	s := begin(t)
	drifted := rewritten("f", "kubectl")
	s.Expect(s.freshlySees(drifted)).To(HaveLen(1))
	s.SettleOthers("p", "Service", nil, s.now)
	s.Expect(s.freshlySees(drifted)).To(HaveLen(1))
}
