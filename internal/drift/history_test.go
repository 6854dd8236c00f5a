// SPDX-License-Identifier: Apache-2.0

package drift_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
)

var (
	start   = time.Unix(1_700_000_000, 0)
	service = drift.Object{Kind: "Service", Namespace: "shop", Name: "web"}
)

// rewritten is drift of one field of a Service of policy p, caused by a manager.
func rewritten(field, manager string) drift.Finding {
	return drift.Finding{Policy: "p", Object: service, Field: field, State: v1alpha1.StateDrifted, By: drift.Manager{Name: manager}}
}

func list(findings ...drift.Finding) []drift.Finding { return findings }

// story is a history with a clock and the version of its only object.
type story struct {
	*WithT
	*drift.History
	now     time.Time
	version int
}

func begin(t *testing.T) *story {
	t.Helper()
	return &story{WithT: NewWithT(t), History: drift.NewHistory(), now: start}
}

func (s *story) sees(findings ...drift.Finding) (fresh []drift.Finding, wait time.Duration) {
	return s.Observe(service, fmt.Sprint(s.version), findings, s.now)
}

func (s *story) freshlySees(findings ...drift.Finding) []drift.Finding {
	fresh, _ := s.sees(findings...)
	return fresh
}

func (s *story) repairs(findings ...drift.Finding) {
	s.RecordRepair(service, findings, s.now)
	s.version++
}

// contest lets a manager rewrite a field at every interval, and lets the operator repair it.
func (s *story) contest(rounds int, manager string, every time.Duration) {
	for range rounds {
		s.version++
		finding := rewritten("f", manager)
		s.Expect(s.freshlySees(finding)).To(HaveLen(1))
		s.repairs(finding)
		s.now = s.now.Add(every)
	}
}

func (s *story) contested() []drift.Finding { return s.Summarize("p", s.now).Contested }

func TestDriftIsFreshOnceUntilItIsRepaired(t *testing.T) {
	s := begin(t)
	finding := rewritten("f", "kubectl")
	s.Expect(s.freshlySees(finding)).To(Equal(list(finding)))
	s.Expect(s.freshlySees(finding)).To(BeEmpty(), "seen again")
	s.version++
	s.Expect(s.freshlySees(finding)).To(BeEmpty(), "seen again in another version, because another field changed")

	s.RecordRepair(service, list(finding), s.now)
	s.Expect(s.freshlySees(finding)).To(BeEmpty(), "the cache does not show the repair yet")
	s.version++
	s.Expect(s.freshlySees()).To(BeEmpty())
	s.version++
	s.Expect(s.freshlySees(finding)).To(Equal(list(finding)), "rewritten after the repair")
}

func TestDriftIsFreshAgainAfterItEnded(t *testing.T) {
	s := begin(t)
	finding := rewritten("f", "kubectl")
	s.Expect(s.freshlySees(finding)).To(HaveLen(1))
	s.version++
	s.Expect(s.freshlySees()).To(BeEmpty(), "somebody else repaired it")
	s.version++
	s.Expect(s.freshlySees(finding)).To(HaveLen(1))
}

func TestEachFieldAndEachManagerIsFreshSeparately(t *testing.T) {
	s := begin(t)
	a, b := rewritten("a", "kubectl"), rewritten("b", "kubectl")
	s.Expect(s.freshlySees(a)).To(Equal(list(a)))
	s.Expect(s.freshlySees(a, b)).To(Equal(list(b)))
	other := rewritten("a", "helm")
	s.version++
	s.Expect(s.freshlySees(other, b)).To(Equal(list(other)))
}

func TestOnlyDriftIsRemembered(t *testing.T) {
	s := begin(t)
	for _, state := range []v1alpha1.DriftState{
		v1alpha1.StatePending, v1alpha1.StateHeld, v1alpha1.StateConflicted, v1alpha1.StateNotApplicable,
	} {
		finding := rewritten("f", "kubectl")
		finding.State = state
		s.Expect(s.freshlySees(finding)).To(BeEmpty())
		s.repairs(finding)
		s.Expect(s.Summarize("p", s.now)).To(Equal(drift.Summary{}), "a write of new intent is no repair")
	}
}

func TestMissingObjectIsFreshEachTimeItWasWritten(t *testing.T) {
	s := begin(t)
	missing := drift.Finding{Policy: "p", Object: service, Cause: v1alpha1.CauseMissing, State: v1alpha1.StateDrifted}
	observe := func() []drift.Finding {
		fresh, _ := s.Observe(service, "", list(missing), s.now)
		return fresh
	}
	for range 10 {
		s.Expect(observe()).To(HaveLen(1))
		s.Expect(observe()).To(BeEmpty(), "seen again before the write")
		s.RecordRepair(service, list(missing), s.now)
	}
	s.Expect(s.contested()).To(HaveLen(1))
}

func TestMissingObjectIsFreshAfterSomebodyElseRecreatedIt(t *testing.T) {
	s := begin(t)
	missing := drift.Finding{Policy: "p", Object: service, Cause: v1alpha1.CauseMissing, State: v1alpha1.StateDrifted}
	for range 3 {
		fresh, _ := s.Observe(service, "", list(missing), s.now)
		s.Expect(fresh).To(HaveLen(1))
		s.version++
		s.Expect(s.freshlySees()).To(BeEmpty())
	}
}

func TestFieldIsContestedWhenOneManagerRewritesItFiveTimes(t *testing.T) {
	s := begin(t)
	s.contest(4, "argo", time.Second)
	s.Expect(s.contested()).To(BeEmpty(), "after four rewrites")
	s.contest(1, "argo", 0)
	want := rewritten("f", "argo")
	want.State = v1alpha1.StateContested
	s.Expect(s.contested()).To(Equal(list(want)), "after five rewrites, even while the field is as declared")
	s.Expect(s.Summarize("other", s.now).Contested).To(BeEmpty(), "other policies are not concerned")
}

func TestTwoManagersAreTwoContests(t *testing.T) {
	s := begin(t)
	for range 4 {
		s.contest(1, "argo", 0)
		s.contest(1, "flux", 0)
	}
	s.Expect(s.contested()).To(BeEmpty())
	s.contest(1, "flux", 0)
	s.Expect(s.contested()).To(HaveExactElements(HaveField("By.Name", "flux")))
	s.contest(1, "argo", 0)
	for range 20 {
		s.Expect(s.contested()).To(HaveExactElements(HaveField("By.Name", "argo"), HaveField("By.Name", "flux")), "sorted")
	}
}

func TestRewritesFarApartAreNoContest(t *testing.T) {
	s := begin(t)
	s.contest(30, "kubectl", 6*time.Hour)
	s.Expect(s.contested()).To(BeEmpty())
}

func TestContestedObjectIsWrittenAtMostOnceASecond(t *testing.T) {
	s := begin(t)
	finding := rewritten("f", "argo")
	s.contest(4, "argo", 0)
	_, wait := s.sees(finding)
	s.Expect(wait).To(Equal(time.Second), "the fifth write waits a second after the fourth")

	s.now = s.now.Add(400 * time.Millisecond)
	_, wait = s.sees(finding)
	s.Expect(wait).To(Equal(600*time.Millisecond), "the rest of the second")
	s.now = s.now.Add(600 * time.Millisecond)
	_, wait = s.sees(finding)
	s.Expect(wait).To(BeZero())

	s.repairs(finding)
	_, wait = s.sees()
	s.Expect(wait).To(BeZero(), "no write is needed")
}

func TestFieldThatIsNotContestedIsWrittenAtOnce(t *testing.T) {
	s := begin(t)
	s.contest(3, "argo", 0)
	_, wait := s.sees(rewritten("f", "argo"))
	s.Expect(wait).To(BeZero())
}

func TestContestEndsWhenTheFieldStaysForHalfAMinute(t *testing.T) {
	s := begin(t)
	s.contest(10, "argo", 0)
	s.now = start.Add(10 * time.Second)
	s.Expect(s.Summarize("p", s.now).Quiet).To(Equal(20*time.Second), "the time until the next look")
	s.now = start.Add(30*time.Second - 1)
	s.Expect(s.contested()).To(HaveLen(1))
	s.now = start.Add(30 * time.Second)
	s.Expect(s.contested()).To(BeEmpty())
	s.Expect(s.Summarize("p", s.now).Quiet).To(BeZero())

	s.contest(4, "argo", 0)
	s.Expect(s.contested()).To(BeEmpty(), "the count starts again")
}

func TestCountOfRewritesRestartsAfterHalfAMinuteEvenUnobserved(t *testing.T) {
	s := begin(t)
	s.contest(10, "argo", 0)
	s.now = start.Add(30 * time.Second)
	s.contest(4, "argo", 0)
	s.Expect(s.contested()).To(BeEmpty())
}

func TestUnrepairedDriftIsNotContested(t *testing.T) {
	s := begin(t)
	finding := rewritten("f", "kubectl")
	for range 100 { // as in mode Audit: no repair
		s.version++
		s.now = s.now.Add(time.Second)
		s.sees(finding)
	}
	s.Expect(s.contested()).To(BeEmpty())
}

// A tool that declares another value is known to return, so that a single rewrite
// is a contest. In mode Audit nothing is rewritten, because nothing is repaired. A
// restart of the operator must not report a contest that was not reported before.
func TestDriftThatIsNotRepairedIsNoContest(t *testing.T) {
	for _, unrepaired := range []bool{false, true} {
		s, declared := begin(t), rewritten("spec.type", "gitops")
		declared.By.Declares, declared.Unrepaired = true, unrepaired
		s.Expect(s.freshlySees(declared)).To(HaveLen(1))
		s.Expect(s.Summarize("p", s.now).Contested).To(HaveLen(map[bool]int{false: 1, true: 0}[unrepaired]))
	}
}

func TestSummaryCountsRepairsUntilTheyAreAcknowledged(t *testing.T) {
	s := begin(t)
	first, second := rewritten("f", "kubectl"), rewritten("g", "helm")
	s.repairs(first)
	s.now = s.now.Add(time.Minute)
	s.repairs(second)
	reported := s.Summarize("p", s.now)
	s.Expect(reported.Count).To(Equal(2))
	s.Expect(reported.Last).To(HaveValue(Equal(second)))
	s.Expect(reported.LastTime).To(Equal(s.now))

	s.repairs(first)
	s.AcknowledgeSummary("p", reported)
	s.Expect(s.Summarize("p", s.now).Count).To(Equal(1), "the repair that came in between")
	s.AcknowledgeSummary("p", s.Summarize("p", s.now))
	after := s.Summarize("p", s.now)
	s.Expect(after.Count).To(BeZero())
	s.Expect(after.Last).To(HaveValue(Equal(first)), "the last repair stays in the summary")
}

func TestRepairsAreCountedPerPolicy(t *testing.T) {
	s := begin(t)
	theirs := rewritten("g", "helm")
	theirs.Policy = "q"
	s.repairs(rewritten("f", "kubectl"), theirs)
	s.Expect(s.Summarize("p", s.now).Count).To(Equal(1))
	s.Expect(s.Summarize("q", s.now).Count).To(Equal(1))
	s.Expect(s.Summarize("r", s.now)).To(Equal(drift.Summary{}))
}

func TestFailureIsReportedUntilTheObjectIsWrittenOrNeedsNoWrite(t *testing.T) {
	over := map[string]func(*story){
		"written":             func(s *story) { s.repairs() },
		"nothing to do":       func(s *story) { s.RecordSettled(service, s.now) },
		"policy is forgotten": func(s *story) { s.ForgetPolicy("p") },
	}
	for name, ends := range over {
		t.Run(name, func(t *testing.T) {
			s := begin(t)
			node := drift.Object{Kind: "Node", Name: "cp-1"}
			s.RecordFailure(service, []string{"p", "q"}, errors.New("forbidden"), s.now)
			s.RecordFailure(node, []string{"p"}, errors.New("timeout"), s.now)
			s.RecordFailure(node, []string{"p"}, errors.New("still a timeout"), s.now)
			s.Expect(s.Summarize("p", s.now).Failures).To(Equal([]string{"Node/cp-1: still a timeout", "Service/shop/web: forbidden"}))
			s.Expect(s.Summarize("q", s.now).Failures).To(Equal([]string{"Service/shop/web: forbidden"}))
			s.now = s.now.Add(time.Hour)
			s.Expect(s.Summarize("p", s.now).Failures).To(HaveLen(2), "failures do not expire")
			ends(s)
			s.Expect(s.Summarize("p", s.now).Failures).NotTo(ContainElement(ContainSubstring("Service")))
		})
	}
}

func TestForgetDropsOnePolicyAndNoOther(t *testing.T) {
	s := begin(t)
	s.contest(10, "argo", 0)
	theirs := rewritten("g", "helm")
	theirs.Policy = "q"
	s.repairs(theirs)
	s.RecordFailure(service, []string{"p", "q"}, errors.New("forbidden"), s.now)
	s.ForgetPolicy("p")
	s.Expect(s.Summarize("p", s.now)).To(Equal(drift.Summary{}))
	s.Expect(s.Summarize("q", s.now).Failures).To(HaveLen(1))
	s.Expect(s.Summarize("q", s.now).Count).To(Equal(1))
	s.Expect(s.Remembered()).To(Equal(1))
	s.ForgetPolicy("q")
	s.Expect(s.Summarize("q", s.now)).To(Equal(drift.Summary{}))
	s.Expect(s.Remembered()).To(BeZero())
}

func TestOldEntriesAreForgotten(t *testing.T) {
	s := begin(t)
	for i := range 1000 {
		object := drift.Object{Kind: "Service", Namespace: "shop", Name: fmt.Sprint(i)}
		finding := rewritten("f", "kubectl")
		finding.Object = object
		s.Observe(object, "1", list(finding), s.now)
		s.RecordRepair(object, list(finding), s.now)
	}
	s.Expect(s.Remembered()).To(Equal(1000))
	s.now = s.now.Add(6*time.Hour - 1)
	s.Summarize("p", s.now)
	s.Expect(s.Remembered()).To(Equal(1000))
	s.now = s.now.Add(1)
	s.Summarize("p", s.now)
	s.Expect(s.Remembered()).To(BeZero())
}

func TestHistoryIsSafeForConcurrentUse(t *testing.T) {
	s := begin(t)
	const workers, rounds = 8, 200
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() {
			object := drift.Object{Kind: "Service", Namespace: "shop", Name: fmt.Sprint(worker % 3)}
			finding := rewritten("f", fmt.Sprint(worker))
			finding.Object = object
			for round := range rounds {
				s.Observe(object, fmt.Sprint(round), list(finding), start)
				s.RecordFailure(object, []string{"p"}, errors.New("timeout"), start)
				s.RecordRepair(object, list(finding), start)
				s.RecordSettled(object, start)
				s.AcknowledgeSummary("other", s.Summarize("p", start))
				s.ForgetPolicy("other")
			}
		})
	}
	wg.Wait()
	s.Expect(s.Summarize("p", start).Count).To(Equal(workers * rounds))
	s.Expect(s.Summarize("p", start).Failures).To(BeEmpty())
}
