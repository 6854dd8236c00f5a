// SPDX-License-Identifier: Apache-2.0

package repair

import (
	"context"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
)

// An object that the operator just wrote has not drifted when a stale cache shows it as
// missing although the report shows it as present. The object is written again nevertheless.
func TestAStaleCacheIsNoDrift(t *testing.T) {
	g := NewWithT(t)
	clock := testingclock.NewFakePassiveClock(time.Now())
	r := Repairer{Clock: clock, History: drift.NewHistory(), Report: func(string) {}}
	writes := 0
	found := func(version string, state v1alpha1.DriftState, needed bool) {
		object := drift.Object{Kind: "GlobalNetworkPolicy", Name: "cpnp.p-deny-etcd"}
		_, _, err := r.Do(t.Context(), Job{
			Object: object, Version: version, Policies: []string{"p"}, Needed: needed,
			Findings: []drift.Finding{{Policy: "p", Object: object, Cause: v1alpha1.CauseMissing, State: state}},
			Write:    func(context.Context) error { writes++; return nil },
		})
		g.Expect(err).NotTo(HaveOccurred())
		clock.SetTime(clock.Now().Add(2 * time.Second))
	}
	told := func() *drift.Finding { return r.History.Summarize("p", clock.Now()).Last }
	found("", v1alpha1.StatePending, true)
	found("", v1alpha1.StateDrifted, false) // nothing may be written just now
	found("", v1alpha1.StateDrifted, true)
	g.Expect(writes).To(Equal(2))
	g.Expect(told()).To(BeNil())

	found("7", v1alpha1.StateDrifted, true)
	g.Expect(told()).NotTo(BeNil(), "a foreign change is reported")
}
