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
	scope   = Step{Number: backend.StageScopedFailsafes}
	revoke  = Step{Number: backend.StageRules, Removing: true}
	release = Step{Number: backend.StageEndpoints, Removing: true}
	open    = Step{Number: backend.StageScopedFailsafes, Removing: true}
)

// A write stage waits for the write stages before it, and never for one after
// it: what allows may always be written at once.
func TestWriteStageWaitsForEarlierStages(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	long := now.Add(-time.Hour)
	for name, c := range map[string]struct {
		wrote map[Step]time.Time
		next  Step
		want  time.Duration
	}{
		"denying waits for what was just allowed":             {map[Step]time.Time{allow: now}, enforce, timing.StageSettle},
		"denying waits only for the rest of the time":         {map[Step]time.Time{allow: now.Add(-time.Second)}, enforce, timing.StageSettle - time.Second},
		"denying does not wait for what was allowed long ago": {map[Step]time.Time{allow: long}, enforce, 0},
		"allowing does not wait for what was denied":          {map[Step]time.Time{enforce: now, scope: now}, allow, 0},
		"scoping failsafe ports waits for the latest of all":  {map[Step]time.Time{allow: long, enforce: now}, scope, timing.StageSettle},
		"a write stage does not wait for itself":              {map[Step]time.Time{enforce: now}, enforce, 0},
		"removing endpoints waits for opened failsafe ports":  {map[Step]time.Time{open: now}, release, 5 * time.Second},
		"removing what allows waits for removed endpoints":    {map[Step]time.Time{release: now}, revoke, timing.StageSettle},
		"opening failsafe ports waits for no stage":           {map[Step]time.Time{allow: now, enforce: now}, open, 0},
		"rules wait for opened failsafe ports":                {map[Step]time.Time{open: now}, enforce, 5 * time.Second},
		"rules wait for the latest of two stages":             {map[Step]time.Time{open: now.Add(-4 * time.Second), allow: now}, enforce, timing.StageSettle},
		"the end waits for scoped failsafe ports":             {map[Step]time.Time{scope: now}, Step{Number: LastStage + 1}, 5 * time.Second},
		"rules do not wait for the removal of older rules":    {map[Step]time.Time{revoke: now}, enforce, 0},
		"rules do not wait for scoped failsafe ports":         {map[Step]time.Time{scope: now}, enforce, 0},
		"removing what allowed waits for its replacement":     {map[Step]time.Time{enforce: now}, revoke, timing.StageSettle},
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

// A previous operator may have written until a moment ago.
func TestAfterAStartEveryLaterWriteStageWaits(t *testing.T) {
	g := NewWithT(t)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	stages := &Stages{Time: timing.StageSettle}
	g.Expect(stages.Wait("p", Step{Number: backend.StageAddresses}, now)).To(BeZero())
	g.Expect(stages.Wait("p", enforce, now)).To(Equal(timing.StageSettle))
	g.Expect(stages.Wait("p", enforce, now.Add(timing.StageSettle))).To(BeZero())
	g.Expect(stages.Wait("p", revoke, now)).To(Equal(timing.StageSettle))
}

// What a previous operator wrote may not have reached every node, so no decision is made
// before the settle time is over. A rollback of one node does not delay the other nodes.
func TestSettleTimeAfterAWriteIsWaitedFor(t *testing.T) {
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
