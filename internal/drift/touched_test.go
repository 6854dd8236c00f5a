// SPDX-License-Identifier: Apache-2.0

package drift_test

import (
	"errors"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// Reports compare an object again only if the History tells that something has changed which
// a comparison reads: the remembered and the unwritten fields.
func TestHistoryTellsWhatComparisonsReadAnew(t *testing.T) {
	now, refused := time.Unix(1000, 0), errors.New("refused")
	record := state.Record{"a:NoSchedule": {Policy: "p"}}
	remember := func(h *drift.History) { h.RememberWrites(node, "uid", record) }
	pending := []drift.Finding{{Policy: "p", Object: node, Field: "a:NoSchedule", State: v1alpha1.StatePending}}
	fail := func(h *drift.History) {
		h.RecordFailure(node, []string{"p"}, refused, now)
		h.RecordUnwritten(node, pending)
	}
	failedRepair := func(h *drift.History) {
		h.RecordFailure(node, []string{"p"}, refused, now)
		h.RecordUnwritten(node, []drift.Finding{{Policy: "p", Object: node, Field: "a:NoSchedule", State: v1alpha1.StateDrifted}})
	}
	nothing := func(*drift.History) {}
	for name, test := range map[string]struct {
		before, change func(*drift.History)
		touched        bool
	}{
		"a first write":        {nothing, remember, true},
		"the same write again": {remember, remember, false},
		"another value": {remember, func(h *drift.History) {
			h.RememberWrites(node, "uid", state.Record{"a:NoSchedule": {Policy: "p", Applied: "x"}})
		}, true},
		"another object of the name":          {remember, func(h *drift.History) { h.RememberWrites(node, "other", record) }, true},
		"an object without writes":            {remember, func(h *drift.History) { h.RememberWrites(node, "uid", nil) }, true},
		"an object that never had any":        {nothing, func(h *drift.History) { h.RememberWrites(node, "uid", nil) }, false},
		"a forgotten policy":                  {remember, func(h *drift.History) { h.ForgetPolicy("p") }, true},
		"a forgotten policy of other writes":  {remember, func(h *drift.History) { h.ForgetPolicy("q") }, false},
		"a failure":                           {nothing, fail, true},
		"a failed repair of what was written": {nothing, failedRepair, false},
		"a repair after a failed repair":      {failedRepair, func(h *drift.History) { h.RecordRepair(node, nil, now) }, false},
		"a write after a failure":             {fail, func(h *drift.History) { h.RecordWritten(node, pending); h.RecordRepair(node, pending, now) }, false},
		"the field differs after a failure":   {fail, func(h *drift.History) { h.RecordSeen(node, pending); h.RecordSettled(node, now) }, false},
		"the field is as declared":            {fail, func(h *drift.History) { h.RecordSeen(node, nil) }, true},
		"the field differs after a write":     {fail, func(h *drift.History) { h.RecordWritten(node, pending); h.RecordSeen(node, pending) }, true},
		"nothing on record after a failure":   {fail, func(h *drift.History) { h.RememberWrites(node, "uid", nil) }, true},
		"a question":                          {fail, func(h *drift.History) { h.Summarize("p", now); h.UnwrittenFields(node)("a:NoSchedule") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			g, h := NewWithT(t), drift.NewHistory()
			test.before(h)
			h.TakeTouched()
			test.change(h)
			g.Expect(h.TakeTouched()[node]).To(Equal(test.touched))
			g.Expect(h.TakeTouched()).To(BeEmpty(), "told once")
		})
	}
}
