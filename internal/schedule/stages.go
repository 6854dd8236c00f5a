// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"sync"
	"time"

	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// Stages remembers when each stage of a policy's objects was last written. After a start of
// the operator, all stages count as just written, because another operator may have written
// before. Stages is safe for concurrent use.
type Stages struct {
	// Time is the settle time of a stage; failsafe ports have a longer time.
	Time time.Duration

	mu      sync.Mutex
	Started time.Time
	last    Timers[stageKey]
	back    Timers[turn]
}

// Step is a stage in one direction: writing or removing.
type Step struct {
	Number   int
	Removing bool
}

type stageKey struct {
	policy string
	Step
}

const firstStage = backend.StageAddresses

// LastStage is the number of the last write stage.
const LastStage = backend.StageScopedFailsafes

// Wait returns how long a stage has to wait until the writes of the stages before, and the
// removals of the stages after, have settled.
func (s *Stages) Wait(policy string, next Step, now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begin(now)
	latest := time.Time{}
	for _, before := range steps {
		if !before.precedes(next) {
			continue
		}
		until := s.Started.Add(s.Time)
		if written, known := s.last.At(stageKey{policy, before}); known {
			until = written.Add(s.reaches(before))
		}
		if until.After(latest) {
			latest = until
		}
	}
	return max(0, latest.Sub(now))
}

func (s *Stages) begin(now time.Time) {
	if s.Started.IsZero() {
		s.Started = now
	}
}

// Settling returns how long writes of another operator may still be on the way to the
// nodes.
func (s *Stages) Settling(now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begin(now)
	return max(0, s.Started.Add(s.Time).Sub(now))
}

// RolledBack records that a node was rolled back now.
func (s *Stages) RolledBack(policy, node string, now time.Time) { s.back.Set(turn{policy, node}, now) }

// WaitRollBack returns how long the last rollback of a node, perhaps of failsafe ports, may
// still be on the way to the node.
func (s *Stages) WaitRollBack(policy, node string, now time.Time) time.Duration {
	return s.back.Left(turn{policy, node}, s.reaches(Step{Number: backend.StageScopedFailsafes}), now)
}

// failsafeFactor is how much longer failsafe ports take than other objects.
const failsafeFactor = float64(timing.FailsafeSettle) / float64(timing.StageSettle)

// reaches returns the settle time of a step.
func (s *Stages) reaches(written Step) time.Duration {
	if written.Number == backend.StageScopedFailsafes {
		return time.Duration(float64(s.Time) * failsafeFactor)
	}
	return s.Time
}

var steps = func() []Step {
	var all []Step
	for number := firstStage; number <= LastStage; number++ {
		all = append(all, Step{Number: number}, Step{Number: number, Removing: true})
	}
	return all
}()

// precedes tells whether a step must have settled before the next step begins. The removal
// of unneeded objects delays no write, except for failsafe ports: failsafe ports are opened
// before a node gets other rules.
func (s Step) precedes(next Step) bool {
	opensFailsafes := s == Step{Number: backend.StageScopedFailsafes, Removing: true} && next == Step{Number: backend.StageEndpoints}
	if next.Removing {
		return s.Number > next.Number
	}
	return s.Number < next.Number && !s.Removing || opensFailsafes
}

// Wrote records that objects of a stage were written now.
func (s *Stages) Wrote(policy string, done Step, now time.Time) {
	s.last.Set(stageKey{policy, done}, now)
}

// Forget drops all memory of a policy.
func (s *Stages) Forget(policy string) {
	s.last.ForgetAll(func(of stageKey) bool { return of.policy == policy })
	s.back.ForgetAll(func(of turn) bool { return of.policy == policy })
}
