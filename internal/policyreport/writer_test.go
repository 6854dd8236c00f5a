// SPDX-License-Identifier: Apache-2.0

package policyreport

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// server keeps one report, and counts requests.
type server struct {
	client.Client
	mapper        meta.RESTMapper
	report        *unstructured.Unstructured
	reads, writes int
	err           error
}

func (s *server) RESTMapper() meta.RESTMapper { return s.mapper }

func (s *server) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	if s.reads++; s.report == nil {
		return apierrors.NewNotFound(schema.GroupResource{Resource: "reports"}, key.Name)
	}
	s.report.DeepCopyInto(into.(*unstructured.Unstructured))
	return nil
}

func (s *server) Apply(_ context.Context, configuration runtime.ApplyConfiguration, _ ...client.ApplyOption) error {
	s.writes++
	if s.err != nil {
		return s.err
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(configuration)
	s.report = &unstructured.Unstructured{Object: content}
	return err
}

func serving(of ...kind) meta.RESTMapper {
	mapper := meta.NewDefaultRESTMapper(nil)
	for _, k := range of {
		mapper.Add(k.GroupVersionKind, meta.RESTScopeRoot)
	}
	return mapper
}

func newWriter(of ...kind) (*Writer, *server, *testclock.FakePassiveClock) {
	s := &server{mapper: serving(of...)}
	clock := testclock.NewFakePassiveClock(now.Time)
	return &Writer{Client: s, Live: s, Clock: clock}, s, clock
}

func readyPolicy() *v1alpha1.ControlPlaneNetworkPolicy {
	return policyWith(condition(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonAsDeclared))
}

func TestNothingIsWrittenWhenNothingChanged(t *testing.T) {
	g := NewWithT(t)
	w, s, clock := newWriter(kinds...)
	policy := readyPolicy()
	for range 3 {
		g.Expect(w.Write(t.Context(), policy)).To(Succeed())
	}
	g.Expect([]int{s.reads, s.writes}).To(Equal([]int{1, 1}))
	g.Expect(w.Due(policy)).To(Equal(timing.PolicyReportCheck))
	g.Expect(s.report.GetKind()).To(Equal("ClusterReport"), "OpenReports is preferred")
	first := s.report.DeepCopy()

	clock.SetTime(now.Add(timing.PolicyReportCheck))
	g.Expect(w.Write(t.Context(), policy)).To(Succeed())
	g.Expect([]int{s.reads, s.writes}).To(Equal([]int{2, 1}), "the report is read once an hour, and not written")

	s.report.Object["summary"] = map[string]any{"pass": int64(99)}
	clock.SetTime(now.Add(2 * timing.PolicyReportCheck))
	g.Expect(w.Write(t.Context(), policy)).To(Succeed())
	g.Expect(s.writes).To(Equal(2), "a foreign change is reverted")
	g.Expect(s.report.Object).To(Equal(first.Object), "with the former times")

	s.report = nil
	clock.SetTime(now.Add(3 * timing.PolicyReportCheck))
	g.Expect(w.Write(t.Context(), policy)).To(Succeed())
	g.Expect(s.report.Object).To(Equal(first.Object), "a deleted report is created again")
}

// A restarted operator finds the report up to date, and keeps its times.
func TestRestartWritesNothing(t *testing.T) {
	g := NewWithT(t)
	w, s, _ := newWriter(kinds...)
	g.Expect(w.Write(t.Context(), readyPolicy())).To(Succeed())
	other := &Writer{Client: s, Live: s, Clock: testclock.NewFakePassiveClock(now.Add(48 * time.Hour))}
	g.Expect(other.Write(t.Context(), readyPolicy())).To(Succeed())
	g.Expect([]int{s.reads, s.writes}).To(Equal([]int{2, 1}))
}

func TestChangeIsOneWrite(t *testing.T) {
	g := NewWithT(t)
	w, s, clock := newWriter(kinds...)
	policy := readyPolicy()
	g.Expect(w.Write(t.Context(), policy)).To(Succeed())
	policy.Status.Posture.Findings[1].Message = "expires in 8 days"
	clock.SetTime(now.Add(10 * time.Minute))
	g.Expect(w.Write(t.Context(), policy)).To(Succeed())
	g.Expect([]int{s.reads, s.writes}).To(Equal([]int{1, 2}))
	results, _, _ := unstructured.NestedSlice(s.report.Object, "results")
	g.Expect(results[2]).To(HaveKeyWithValue("message", "expires in 8 days"))
	g.Expect(results[2]).To(HaveKeyWithValue("timestamp", HaveKeyWithValue("seconds", now.Unix())), "the same finding, found first before")
}

func TestOldKindIsWrittenWhereTheNewIsNotServed(t *testing.T) {
	g := NewWithT(t)
	w, s, _ := newWriter(kinds[1])
	g.Expect(w.Write(t.Context(), readyPolicy())).To(Succeed())
	g.Expect(s.report.GetKind()).To(Equal("ClusterPolicyReport"))
	g.Expect(s.report.Object).NotTo(HaveKey("source"))
}

func TestAbsenceIsLoggedOnce(t *testing.T) {
	g := NewWithT(t)
	w, s, clock := newWriter()
	lines := 0
	ctx := logr.NewContext(t.Context(), funcr.New(func(_, _ string) { lines++ }, funcr.Options{}))
	for i := range 5 {
		clock.SetTime(now.Add(time.Duration(i) * 10 * time.Minute))
		g.Expect(w.Write(ctx, readyPolicy())).To(Succeed())
	}
	g.Expect([]int{s.reads, s.writes, lines}).To(Equal([]int{0, 0, 1}))
	g.Expect(w.Due(readyPolicy())).To(Equal(timing.PolicyReportRetry))
	s.mapper = serving(kinds...)
	g.Expect(w.Write(ctx, readyPolicy())).To(Succeed())
	g.Expect(s.writes).To(BeZero(), "the API is looked for again after a while")
	clock.SetTime(now.Add(2 * time.Hour))
	g.Expect(w.Write(ctx, readyPolicy())).To(Succeed())
	g.Expect(s.writes).To(Equal(1))
}

func TestFailureIsLoggedOnceAMinute(t *testing.T) {
	g := NewWithT(t)
	w, s, clock := newWriter(kinds...)
	s.err = apierrors.NewForbidden(schema.GroupResource{Group: "openreports.io", Resource: "clusterreports"}, "cpnp-plane", errors.New("no role"))
	err := w.Write(t.Context(), readyPolicy())
	g.Expect(err).To(MatchError(ContainSubstring("bind the ClusterRole cpnp-reports-writer")))
	g.Expect(w.Due(readyPolicy())).To(Equal(timing.PolicyReportRetry))
	clock.SetTime(now.Add(timing.PolicyReportRetry / 3))
	g.Expect(w.Write(t.Context(), readyPolicy())).To(Succeed())
	g.Expect(s.writes).To(Equal(1))
	g.Expect(w.Due(readyPolicy())).To(Equal(timing.PolicyReportRetry*2/3), "a status in between does not delay the retry")
	s.err = nil
	clock.SetTime(now.Add(timing.PolicyReportRetry))
	g.Expect(w.Write(t.Context(), readyPolicy())).To(Succeed())
	g.Expect(s.writes).To(Equal(2))
	g.Expect(w.Due(readyPolicy())).To(Equal(timing.PolicyReportCheck))
}

func TestPolicyInDeletionHasNoReport(t *testing.T) {
	g := NewWithT(t)
	w, s, _ := newWriter(kinds...)
	policy := readyPolicy()
	policy.DeletionTimestamp = &now
	g.Expect(w.Write(t.Context(), policy)).To(Succeed())
	g.Expect(w.Write(t.Context(), &v1alpha1.ControlPlaneNetworkPolicy{})).To(Succeed(), "there is no status yet")
	g.Expect(w.Due(policy)).To(BeZero(), "no work is due")
	g.Expect([]int{s.reads, s.writes}).To(Equal([]int{0, 0}))
	g.Expect(w.Write(t.Context(), readyPolicy())).To(Succeed())
	w.Forget(policy.UID)
	g.Expect(w.last).To(BeEmpty())
}

// However long a deletion takes, a policy with a report does not cause a loop.
func TestLongDeletionIsNoLoop(t *testing.T) {
	g := NewWithT(t)
	w, s, clock := newWriter(kinds...)
	policy := readyPolicy()
	g.Expect(w.Write(t.Context(), policy)).To(Succeed())
	policy.DeletionTimestamp = &now
	for _, passed := range []time.Duration{0, timing.PolicyReportCheck, 48 * time.Hour} {
		clock.SetTime(now.Add(passed))
		g.Expect(w.Write(t.Context(), policy)).To(Succeed())
		g.Expect(w.Due(policy)).To(BeZero(), "after %s", passed)
	}
	g.Expect([]int{s.reads, s.writes}).To(Equal([]int{1, 1}))
}
