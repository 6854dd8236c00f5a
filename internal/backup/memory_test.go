// SPDX-License-Identifier: Apache-2.0

package backup

import (
	"context"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/types"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

func leaseSource(name string) v1alpha1.BackupSource {
	return v1alpha1.BackupSource{Lease: v1alpha1.NamespacedName{Namespace: "ns", Name: name}}
}

func TestMemoryKeepsOneAnswerForEachPolicyAndSource(t *testing.T) {
	g := NewWithT(t)
	clock := testclock.NewFakePassiveClock(now)
	m := &Memory{Clock: clock}
	policy := policyWith(leaseSource("a"))
	_, known := m.Latest(policy)
	g.Expect(known).To(BeFalse(), "before the first read")

	found := Found{At: now, Newest: ago(time.Minute)}
	g.Expect(m.Keep(policy, found)).To(BeTrue(), "the first answer is new")
	g.Expect(m.Keep(policy, found)).To(BeFalse(), "the same answer is not new")
	latest, known := m.Latest(policy)
	g.Expect(known).To(BeTrue())
	g.Expect(latest).To(Equal(found))

	other := policyWith(leaseSource("a"))
	other.UID = "other"
	_, known = m.Latest(other)
	g.Expect(known).To(BeFalse(), "another policy, perhaps of the same name")

	policy.Spec.Posture.EtcdBackup.Source = leaseSource("b")
	_, known = m.Latest(policy)
	g.Expect(known).To(BeFalse(), "another source")
	g.Expect(m.Keep(policy, found)).To(BeTrue(), "the answer of another source is new")

	clock.SetTime(now.Add(timing.BackupKept - 1))
	_, known = m.Latest(policy)
	g.Expect(known).To(BeTrue())
	clock.SetTime(now.Add(timing.BackupKept))
	_, known = m.Latest(policy)
	g.Expect(known).To(BeFalse(), "no policy reads the source any more")

	m.ForgetOthers(map[types.UID]bool{policy.UID: true})
	g.Expect(m.answers).To(HaveLen(1))
	m.ForgetOthers(nil)
	g.Expect(m.answers).To(BeEmpty())
}

func TestMemoryPrefersAnOldAnswerToAPassingProblem(t *testing.T) {
	g := NewWithT(t)
	clock := testclock.NewFakePassiveClock(now)
	m := &Memory{Clock: clock}
	policy := policyWith(leaseSource("a"))
	good := Found{At: now, Newest: ago(time.Minute)}
	m.Keep(policy, good)
	bad := func() Found { return Found{At: clock.Now(), Problem: "no answer", Transient: true} }

	clock.SetTime(now.Add(timing.BackupKept - 1))
	g.Expect(m.Keep(policy, bad())).To(BeFalse())
	latest, _ := m.Latest(policy)
	g.Expect(latest).To(Equal(good))

	clock.SetTime(now.Add(timing.BackupKept))
	g.Expect(m.Keep(policy, bad())).To(BeTrue())
	latest, known := m.Latest(policy)
	g.Expect(known).To(BeTrue())
	g.Expect(latest.Transient).To(BeTrue())

	g.Expect(m.Keep(policy, Found{At: clock.Now(), Problem: "forbidden"})).To(BeTrue())
	g.Expect(m.Keep(policy, bad())).To(BeFalse(), "the problem from before the API server stopped answering is reported")
}

// The annotation is in memory with the policy: a change takes effect at once.
func TestAnnotationNeedsNoMemory(t *testing.T) {
	g := NewWithT(t)
	m := &Memory{Clock: testclock.NewFakePassiveClock(now)}
	found, known := m.Latest(annotated("2026-03-04T11:00:00Z"))
	g.Expect(known).To(BeTrue())
	g.Expect(found.Newest.Time).To(Equal(now.Add(-time.Hour)))
}

// counting counts reads, and fails them.
type counting struct {
	client.Reader
	reads int
}

func (c *counting) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	c.reads++
	return context.DeadlineExceeded
}

func TestPollerReadsOnceAMinute(t *testing.T) {
	g := NewWithT(t)
	clock := testclock.NewFakePassiveClock(time.Now())
	reader := &counting{}
	p := &Poller{Live: reader, Memory: &Memory{Clock: clock}}
	policy := policyWith(leaseSource("a"))
	again, changed := p.Poll(t.Context(), policy)
	g.Expect([]any{again, changed, reader.reads}).To(Equal([]any{timing.BackupReread, true, 1}))
	clock.SetTime(clock.Now().Add(20 * time.Second))
	again, changed = p.Poll(t.Context(), policy)
	g.Expect([]any{again, changed, reader.reads}).To(Equal([]any{timing.BackupReread - 20*time.Second, false, 1}))
	clock.SetTime(clock.Now().Add(40 * time.Second))
	again, changed = p.Poll(t.Context(), policy)
	g.Expect([]any{again, changed, reader.reads}).To(Equal([]any{timing.BackupReread, false, 2}))

	policy.Spec.Posture.EtcdBackup.Source = leaseSource("b")
	_, changed = p.Poll(t.Context(), policy)
	g.Expect([]any{changed, reader.reads}).To(Equal([]any{true, 3}), "a new source is read at once")

	again, changed = p.Poll(t.Context(), annotated())
	g.Expect([]any{again, changed, reader.reads}).To(Equal([]any{time.Duration(0), false, 3}))
	policy.Spec.Posture = nil
	again, _ = p.Poll(t.Context(), policy)
	g.Expect(again).To(BeZero())
	g.Expect(p.Memory.answers).To(BeEmpty())
}
