// SPDX-License-Identifier: Apache-2.0

package drift_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// argoRhythm is how long Argo CD's self-heal was observed to wait before each rewrite: three times
// as long each time, up to five minutes, and from the start again after each revision in git.
var argoRhythm = []time.Duration{
	2 * time.Second, 8 * time.Second, 27 * time.Second, 82 * time.Second, 246 * time.Second, 300 * time.Second, 300 * time.Second,
	2 * time.Second, 8 * time.Second, 27 * time.Second, 82 * time.Second, 246 * time.Second, 300 * time.Second, 300 * time.Second, 300 * time.Second,
}

// rewrites lets somebody rewrite a field, and repairs it at once.
func (s *story) rewrites(f drift.Finding) {
	s.version++
	s.sees(f)
	s.repairs(f)
	s.sees()
}

// A tool that returns at ever longer intervals is recognised, and the contest does not end between two rewrites.
func TestRewritesAtIntervalsOfMinutesStayContested(t *testing.T) {
	tests := map[string]struct {
		by    drift.Manager
		after int // rewrites
	}{
		"with Argo CD":                                {drift.Manager{Name: "argocd-controller", Tool: drift.ToolArgo}, 1},
		"with somebody who declares it":               {drift.Manager{Name: "terraform", Declares: true}, 1},
		"with an unknown manager":                     {drift.Manager{Name: "somebody"}, 5},
		"with a manager without a name":               {drift.Manager{}, 10},
		"with a tool that is known by its name alone": {drift.Manager{Name: "x", Tool: drift.ToolHelm}, 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := begin(t)
			finding := rewritten("f", "")
			finding.By = test.by
			for round, wait := range argoRhythm {
				for range 10 {
					s.now = s.now.Add(wait / 10)
					s.sees()
					s.Expect(s.contested()).To(HaveLen(btoi(round >= test.after)), "before round %d", round+1)
				}
				s.rewrites(finding)
			}
			s.now = s.now.Add(4 * 300 * time.Second)
			s.Expect(s.contested()).To(BeEmpty(), "the contest is over")
		})
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestHourlyRewritesStayContested(t *testing.T) {
	s := begin(t)
	flux := rewritten("f", "kustomize-controller")
	flux.By.Tool = drift.ToolFlux
	s.rewrites(flux)
	s.now = s.now.Add(time.Hour)
	s.Expect(s.contested()).To(BeEmpty(), "one rewrite does not predict the next")
	for range 5 {
		s.rewrites(flux)
		s.now = s.now.Add(time.Hour)
		s.Expect(s.contested()).To(HaveLen(1))
	}
	s.now = s.now.Add(3 * time.Hour)
	s.Expect(s.contested()).To(BeEmpty())
}

// Many managers who each rewrite a field once are not in a contest.
func TestSingleRewritesOfManyManagersAreNoContest(t *testing.T) {
	s := begin(t)
	for i := range 100 {
		s.rewrites(rewritten("f", fmt.Sprintf("visitor-%d", i)))
	}
	s.Expect(s.contested()).To(BeEmpty())
	_, wait := s.sees(rewritten("f", "visitor-100"))
	s.Expect(wait).To(BeZero())
}

// Anybody can invent names of managers: invented names hide no contest, and do not fill the memory.
func TestInventedNamesHideNoContest(t *testing.T) {
	s := begin(t)
	for i := range 1000 {
		if i%200 == 0 {
			s.rewrites(rewritten("f", "rewriter"))
			s.rewrites(rewritten("f", "rewriter"))
		}
		s.rewrites(rewritten("f", fmt.Sprintf("visitor-%d", i)))
	}
	s.Expect(s.contested()).To(ConsistOf(HaveField("By.Name", "rewriter")))
	s.Expect(s.Rows(service)).To(Equal(16))
}

func TestHistoryOfManyObjectsIsBounded(t *testing.T) {
	s := begin(t)
	s.contest(5, "rewriter", 0)
	for i := range 5000 {
		object := drift.Object{Kind: "Service", Namespace: "shop", Name: fmt.Sprint(i)}
		finding := rewritten("f", "kubectl")
		finding.Object = object
		s.Observe(object, "1", list(finding), s.now)
		s.RecordRepair(object, list(finding), s.now)
		s.now = s.now.Add(20 * time.Millisecond)
		if i%100 == 0 {
			s.contest(1, "rewriter", 0)
		}
	}
	s.Expect(s.Remembered()).To(BeNumerically("<", 4096))
	s.Expect(s.contested()).To(HaveLen(1))
}

func TestLongValuesAreNotKept(t *testing.T) {
	s := begin(t)
	long := rewritten("f", "argo")
	long.Actual = strings.Repeat("x", 100_000)
	for range 5 {
		s.rewrites(long)
	}
	s.Expect(s.contested()).To(ConsistOf(HaveField("Actual", HaveLen(256))))
}

// reported is policy p with a status that has these differences in its present generation.
func reported(generation int64, drift ...v1alpha1.Drift) *plan.Policy {
	p := policy("p")
	p.Generation, p.Status.ObservedGeneration, p.Status.Drift = 2, generation, drift
	compiled := compile(p)
	return &compiled[0]
}

func TestContestContinuesAfterARestart(t *testing.T) {
	entry := func(is v1alpha1.DriftState) v1alpha1.Drift {
		return v1alpha1.Drift{Kind: "Service", Namespace: "shop", Name: "web", Field: "f", State: is, Actual: "Cluster", Manager: "argo"}
	}
	s := begin(t)
	s.ResumeContests(reported(2, entry(v1alpha1.StateContested)), s.now)
	s.Expect(s.contested()).To(ConsistOf(And(HaveField("Field", "f"), HaveField("By.Name", "argo"), HaveField("Actual", "Cluster"))))
	s.now = s.now.Add(15*time.Minute - 1)
	s.Expect(s.contested()).To(HaveLen(1))
	s.now = s.now.Add(1)
	s.Expect(s.contested()).To(BeEmpty(), "nobody rewrites the field any more")
	s.ResumeContests(reported(2, entry(v1alpha1.StateContested)), s.now)
	s.Expect(s.contested()).To(BeEmpty(), "the status is already this operator's own")

	s = begin(t)
	s.ResumeContests(reported(2, entry(v1alpha1.StateDrifted), entry(v1alpha1.StateConflicted)), s.now)
	s.Expect(s.contested()).To(BeEmpty(), "the reported difference was no contest")
	s = begin(t)
	s.ResumeContests(reported(1, entry(v1alpha1.StateContested)), s.now)
	s.Expect(s.contested()).To(BeEmpty(), "the policy was changed since")
}

func TestNewGenerationOfThePolicyEndsAContest(t *testing.T) {
	s := begin(t)
	s.contest(5, "argo", 0)
	s.ResumeContests(reported(2), s.now)
	s.Expect(s.contested()).To(HaveLen(1))
	s.ResumeContests(reported(1), s.now)
	s.Expect(s.contested()).To(BeEmpty())
}

func TestRememberedWritesBelongToOneObject(t *testing.T) {
	s := begin(t)
	record := state.Record{"a": *done("p", "Local", "Cluster"), "b": *done("q", "", "")}
	s.RememberWrites(service, "uid", record)
	recall := func(field string) any {
		entry, known := s.RecallWrites(service, "uid")(field)
		if !known {
			return nil
		}
		return entry
	}
	s.Expect(recall("a")).To(Equal(*done("p", "Local", "Cluster")))
	s.Expect(recall("b")).To(Equal(*done("q", "", "")))
	s.Expect(recall("c")).To(BeNil())
	_, known := s.RecallWrites(service, "another one of the name")("a")
	s.Expect(known).To(BeFalse())
	s.ForgetPolicy("q")
	s.Expect(recall("b")).To(BeNil())
	s.Expect(recall("a")).NotTo(BeNil())
	s.RememberWrites(service, "uid", nil)
	s.Expect(recall("a")).To(BeNil())
}

func TestObjectWithoutWritesIsNotContested(t *testing.T) {
	s := begin(t)
	s.contest(5, "argo", 0)
	s.sees()
	s.RememberWrites(service, "uid", state.Record{"f": {Applied: "x", Original: ptr.To("y")}})
	s.Expect(s.contested()).To(HaveLen(1))
	s.RememberWrites(service, "uid", nil)
	s.Expect(s.contested()).To(BeEmpty())
}

func TestReleasesAreReportedOnce(t *testing.T) {
	s := begin(t)
	stays, restored := rewritten("f", "argo"), rewritten("g", "")
	s.RecordReleases(drift.Outcome{Kept: list(stays), Restored: list(restored, restored)})
	s.Expect(s.TakeReleases("q")).To(BeZero())
	s.Expect(s.TakeReleases("p")).To(Equal(drift.Releases{Kept: list(stays), Restored: 2, Last: restored}))
	s.Expect(s.TakeReleases("p")).To(BeZero())
	for range 100 {
		s.RecordReleases(drift.Outcome{Kept: list(stays), Replaced: list(stays)})
		s.RecordNotRestored(list(stays))
	}
	told := s.TakeReleases("p")
	s.Expect(told.Kept).To(HaveLen(16))
	s.Expect(told.Replaced).To(HaveLen(16))
	s.Expect(told.NotRestored).To(HaveLen(16))
}
