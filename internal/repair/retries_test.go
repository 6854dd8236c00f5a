// SPDX-License-Identifier: Apache-2.0

package repair

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/apply"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
)

// A write that the API server does not store as written is no repair. The failure
// is reported, and retried at growing intervals, no matter how many events arrive.
func TestAWriteThatIsNotStoredIsRetriedAtGrowingIntervals(t *testing.T) {
	g := NewWithT(t)
	clock := testingclock.NewFakePassiveClock(time.Now())
	r := Repairer{Clock: clock, History: drift.NewHistory(), Report: func(string) {}, Retries: &Retries{}}
	object := drift.Object{Kind: "GlobalNetworkSet", Name: "cpnp-p-nodes-0"}
	var stored error = &apply.Incomplete{Left: []string{"spec.nets is more"}}
	writes, version := 0, 0
	look := func(needed bool) (bool, time.Duration) {
		version++ // each write is an event with a new version
		job := Job{
			Object: object, Version: fmt.Sprint(version), Policies: []string{"p"}, Needed: needed,
			Write: func(context.Context) error { writes++; return stored },
		}
		if needed {
			job.Findings = []drift.Finding{{Policy: "p", Object: object, Field: "spec.nets", State: v1alpha1.StateDrifted, By: drift.Manager{Name: "mallory"}}}
		}
		wrote, result, err := r.Do(t.Context(), job)
		g.Expect(err).NotTo(HaveOccurred())
		return wrote, result.RequeueAfter
	}
	for _, delay := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
		before := writes
		for range 20 {
			wrote, after := look(true)
			g.Expect(wrote).To(BeFalse())
			g.Expect(after).To(Equal(delay * time.Second))
		}
		g.Expect(writes).To(Equal(before+1), "events do not trigger another write")
		summary := r.History.Summarize("p", clock.Now())
		g.Expect(summary.Failures).To(ConsistOf(ContainSubstring("spec.nets is more")))
		g.Expect(summary.Last).To(BeNil(), "no repair was counted")
		clock.SetTime(clock.Now().Add(delay * time.Second))
	}
	stored = nil
	wrote, _ := look(true)
	g.Expect(wrote).To(BeTrue())
	g.Expect(r.History.Summarize("p", clock.Now())).To(And(HaveField("Failures", BeEmpty()), HaveField("Last.By.Name", "mallory")))

	stored = &apply.Incomplete{}
	clock.SetTime(clock.Now().Add(2 * time.Second))
	_, after := look(true)
	g.Expect(after).To(Equal(time.Second), "the delays start anew")
	look(false)
	_, after = look(true)
	g.Expect(after).To(Equal(time.Second), "the delays also start anew after the object is as declared without a write")
}

func TestARefusedWriteIsNotPostponed(t *testing.T) {
	g := NewWithT(t)
	clock := testingclock.NewFakePassiveClock(time.Now())
	r := Repairer{Clock: clock, History: drift.NewHistory(), Report: func(string) {}, Retries: &Retries{}}
	for _, refusal := range []error{errors.New("forbidden"), apierrors.NewConflict(schema.GroupResource{}, "x", nil)} {
		writes := 0
		for range 2 {
			_, _, _ = r.Do(t.Context(), Job{
				Object: drift.Object{Kind: "Service", Name: "x"}, Version: "7", Policies: []string{"p"}, Needed: true,
				Write: func(context.Context) error { writes++; return refusal },
			})
		}
		g.Expect(writes).To(Equal(2), refusal.Error())
	}
}
