// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

var (
	allow   = Step{Number: backend.StageRules}
	enforce = Step{Number: backend.StageEndpoints}
	narrow  = Step{Number: backend.StageScopedFailsafes}
	revoke  = Step{Number: backend.StageRules, Removing: true}
	release = Step{Number: backend.StageEndpoints, Removing: true}
	widen   = Step{Number: backend.StageScopedFailsafes, Removing: true}
)

// The next stage waits for those before it, and never for one after it: what
// allows may always come at once.
func TestStageWaitsForThoseBeforeIt(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	long := now.Add(-time.Hour)
	for name, c := range map[string]struct {
		wrote map[Step]time.Time
		next  Step
		want  time.Duration
	}{
		"denying waits for what was just allowed":        {map[Step]time.Time{allow: now}, enforce, timing.StageSettle},
		"it waits for the rest of the time":              {map[Step]time.Time{allow: now.Add(-time.Second)}, enforce, timing.StageSettle - time.Second},
		"it does not wait for what was allowed long ago": {map[Step]time.Time{allow: long}, enforce, 0},
		"allowing does not wait for what was denied":     {map[Step]time.Time{enforce: now, narrow: now}, allow, 0},
		"narrowing waits for the latest of all":          {map[Step]time.Time{allow: long, enforce: now}, narrow, timing.StageSettle},
		"a stage does not wait for itself":               {map[Step]time.Time{enforce: now}, enforce, 0},
		"taking endpoints away waits for wider ports":    {map[Step]time.Time{widen: now}, release, 5 * time.Second},
		"taking away what allows waits for what denied":  {map[Step]time.Time{release: now}, revoke, timing.StageSettle},
		"widening waits for nothing":                     {map[Step]time.Time{allow: now, enforce: now}, widen, 0},
		"rules wait for wider ports":                     {map[Step]time.Time{widen: now}, enforce, 5 * time.Second},
		"they wait for the latest of both":               {map[Step]time.Time{widen: now.Add(-4 * time.Second), allow: now}, enforce, timing.StageSettle},
		"what is done is done when ports are narrow":     {map[Step]time.Time{narrow: now}, Step{Number: LastStage + 1}, 5 * time.Second},
		"rules do not wait for older ones that go":       {map[Step]time.Time{revoke: now}, enforce, 0},
		"rules do not wait for narrower ports":           {map[Step]time.Time{narrow: now}, enforce, 0},
		"what allowed before waits for what replaces it": {map[Step]time.Time{enforce: now}, revoke, timing.StageSettle},
	} {
		t.Run(name, func(t *testing.T) {
			stages := &Stages{Time: timing.StageSettle, Started: long}
			for done, when := range c.wrote {
				stages.Wrote("p", done, when)
			}
			NewWithT(t).Expect(stages.Wait("p", c.next, now)).To(Equal(c.want))
			NewWithT(t).Expect(stages.Wait("other", c.next, now)).To(BeZero(), "policies do not wait for each other")
		})
	}
}

// Another operator may have written until a moment ago.
func TestAfterAStartEveryLaterStageWaits(t *testing.T) {
	g := NewWithT(t)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	stages := &Stages{Time: timing.StageSettle}
	g.Expect(stages.Wait("p", Step{Number: backend.StageAddresses}, now)).To(BeZero())
	g.Expect(stages.Wait("p", enforce, now)).To(Equal(timing.StageSettle))
	g.Expect(stages.Wait("p", enforce, now.Add(timing.StageSettle))).To(BeZero())
	g.Expect(stages.Wait("p", revoke, now)).To(Equal(timing.StageSettle))
}

// What another operator has written may not have reached every node: nothing is
// decided before. A rollback of one node does not concern the other nodes.
func TestWhatWasJustWrittenIsWaitedFor(t *testing.T) {
	g := NewWithT(t)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	stages := &Stages{Time: timing.StageSettle}
	g.Expect(stages.Settling(now)).To(Equal(timing.StageSettle))
	g.Expect(stages.Settling(now.Add(time.Second))).To(Equal(timing.StageSettle - time.Second))
	g.Expect(stages.Settling(now.Add(timing.StageSettle))).To(BeZero())

	g.Expect(stages.WaitRollBack("p", "cp-1", now)).To(BeZero())
	stages.RolledBack("p", "cp-1", now)
	g.Expect(stages.WaitRollBack("p", "cp-1", now.Add(time.Second))).To(Equal(4 * time.Second))
	g.Expect(stages.WaitRollBack("p", "cp-2", now)).To(BeZero())
	g.Expect(stages.WaitRollBack("q", "cp-1", now)).To(BeZero())
	stages.Forget("p")
	g.Expect(stages.WaitRollBack("p", "cp-1", now)).To(BeZero())
}
