// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/internal/plan/calico"
)

var (
	allow   = step{number: calico.StagePolicies}
	enforce = step{number: calico.StageEndpoints}
	narrow  = step{number: calico.StageScopedFailsafes}
	revoke  = step{number: calico.StagePolicies, removing: true}
	release = step{number: calico.StageEndpoints, removing: true}
	widen   = step{number: calico.StageScopedFailsafes, removing: true}
)

// The next stage waits for those before it, and never for one after it: what
// allows may always come at once.
func TestStageWaitsForThoseBeforeIt(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	long := now.Add(-time.Hour)
	for name, c := range map[string]struct {
		wrote map[step]time.Time
		next  step
		want  time.Duration
	}{
		"denying waits for what was just allowed":        {map[step]time.Time{allow: now}, enforce, stageTime},
		"it waits for the rest of the time":              {map[step]time.Time{allow: now.Add(-time.Second)}, enforce, stageTime - time.Second},
		"it does not wait for what was allowed long ago": {map[step]time.Time{allow: long}, enforce, 0},
		"allowing does not wait for what was denied":     {map[step]time.Time{enforce: now, narrow: now}, allow, 0},
		"narrowing waits for the latest of all":          {map[step]time.Time{allow: long, enforce: now}, narrow, stageTime},
		"a stage does not wait for itself":               {map[step]time.Time{enforce: now}, enforce, 0},
		"taking endpoints away waits for wider ports":    {map[step]time.Time{widen: now}, release, 5 * time.Second},
		"taking away what allows waits for what denied":  {map[step]time.Time{release: now}, revoke, stageTime},
		"widening waits for nothing":                     {map[step]time.Time{allow: now, enforce: now}, widen, 0},
		"rules wait for wider ports":                     {map[step]time.Time{widen: now}, enforce, 5 * time.Second},
		"they wait for the latest of both":               {map[step]time.Time{widen: now.Add(-4 * time.Second), allow: now}, enforce, stageTime},
		"what is done is done when ports are narrow":     {map[step]time.Time{narrow: now}, step{number: lastStage + 1}, 5 * time.Second},
		"rules do not wait for older ones that go":       {map[step]time.Time{revoke: now}, enforce, 0},
		"rules do not wait for narrower ports":           {map[step]time.Time{narrow: now}, enforce, 0},
		"what allowed before waits for what replaces it": {map[step]time.Time{enforce: now}, revoke, stageTime},
	} {
		t.Run(name, func(t *testing.T) {
			stages := &Stages{Time: stageTime, started: long}
			for done, when := range c.wrote {
				stages.wrote("p", done, when)
			}
			NewWithT(t).Expect(stages.wait("p", c.next, now)).To(Equal(c.want))
			NewWithT(t).Expect(stages.wait("other", c.next, now)).To(BeZero(), "policies do not wait for each other")
		})
	}
}

// Another operator may have written until a moment ago.
func TestAfterAStartEveryLaterStageWaits(t *testing.T) {
	g := NewWithT(t)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	stages := &Stages{Time: stageTime}
	g.Expect(stages.wait("p", step{number: calico.StageAddresses}, now)).To(BeZero())
	g.Expect(stages.wait("p", enforce, now)).To(Equal(stageTime))
	g.Expect(stages.wait("p", enforce, now.Add(stageTime))).To(BeZero())
	g.Expect(stages.wait("p", revoke, now)).To(Equal(stageTime))
}

// What another operator has written may not have reached every node: nothing is
// decided before. What was taken back of a node concerns that one only.
func TestWhatWasJustWrittenIsWaitedFor(t *testing.T) {
	g := NewWithT(t)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	stages := &Stages{Time: stageTime}
	g.Expect(stages.settling(now)).To(Equal(stageTime))
	g.Expect(stages.settling(now.Add(time.Second))).To(Equal(stageTime - time.Second))
	g.Expect(stages.settling(now.Add(stageTime))).To(BeZero())

	g.Expect(stages.waitBack("p", "cp-1", now)).To(BeZero())
	stages.tookBack("p", "cp-1", now)
	g.Expect(stages.waitBack("p", "cp-1", now.Add(time.Second))).To(Equal(4 * time.Second))
	g.Expect(stages.waitBack("p", "cp-2", now)).To(BeZero())
	g.Expect(stages.waitBack("q", "cp-1", now)).To(BeZero())
	stages.forget("p")
	g.Expect(stages.waitBack("p", "cp-1", now)).To(BeZero())
}
