// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"maps"
	"sync"
	"time"

	"github.com/cpnp-dev/cpnp-operator/internal/plan/calico"
)

// stageTime is the settle time: how long the objects of a stage have to reach every node
// before the next stage begins. Felix needs 0.7 to 1.7 seconds from the API server to the
// rules of the node.
const stageTime = 2 * time.Second

// restarts multiplies stageTime for failsafe ports: Felix restarts after a change of
// configuration, and the restart takes 2.8 seconds on a small node.
const restarts = 2.5

// Stages remembers when each stage of a policy's objects was last written. After a start of
// the operator, all stages count as just written, because another operator may have written
// before. Stages is safe for concurrent use.
type Stages struct {
	// Time is the settle time of a stage; failsafe ports have a longer time.
	Time time.Duration

	mu      sync.Mutex
	started time.Time
	last    map[stageKey]time.Time
	back    map[turn]time.Time
}

// step is a stage in one direction: writing or removing.
type step struct {
	number   int
	removing bool
}

type stageKey struct {
	policy string
	step
}

const firstStage, lastStage = calico.StageAddresses, calico.StageScopedFailsafes

// wait returns how long a stage has to wait until the writes of the stages before, and the
// removals of the stages after, have settled.
func (s *Stages) wait(policy string, next step, now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begin(now)
	latest := time.Time{}
	for _, before := range steps {
		if !before.precedes(next) {
			continue
		}
		until := s.started.Add(s.Time)
		if written, known := s.last[stageKey{policy, before}]; known {
			until = written.Add(s.reaches(before))
		}
		if until.After(latest) {
			latest = until
		}
	}
	return max(0, latest.Sub(now))
}

func (s *Stages) begin(now time.Time) {
	if s.started.IsZero() {
		s.started = now
	}
}

// settling returns how long writes of another operator may still be on the way to the
// nodes.
func (s *Stages) settling(now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begin(now)
	return max(0, s.started.Add(s.Time).Sub(now))
}

// tookBack records the roll back of an object of a node.
func (s *Stages) tookBack(policy, node string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.back == nil {
		s.back = map[turn]time.Time{}
	}
	s.back[turn{policy, node}] = now
}

// waitBack returns how long the last roll back of a node, perhaps of failsafe ports, may
// still be on the way to the node.
func (s *Stages) waitBack(policy, node string, now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	when, known := s.back[turn{policy, node}]
	if !known {
		return 0
	}
	return max(0, when.Add(s.reaches(step{number: calico.StageScopedFailsafes})).Sub(now))
}

// reaches returns the settle time of a step.
func (s *Stages) reaches(written step) time.Duration {
	if written.number == calico.StageScopedFailsafes {
		return time.Duration(restarts * float64(s.Time))
	}
	return s.Time
}

var steps = func() []step {
	var all []step
	for number := firstStage; number <= lastStage; number++ {
		all = append(all, step{number: number}, step{number: number, removing: true})
	}
	return all
}()

// precedes tells whether a step must have settled before the next step begins. The removal
// of unneeded objects delays no write, except for failsafe ports: failsafe ports are opened
// before a node gets other rules.
func (s step) precedes(next step) bool {
	widened := s == step{number: calico.StageScopedFailsafes, removing: true} && next == step{number: calico.StageEndpoints}
	if next.removing {
		return s.number > next.number
	}
	return s.number < next.number && !s.removing || widened
}

func (s *Stages) wrote(policy string, done step, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil {
		s.last = map[stageKey]time.Time{}
	}
	s.last[stageKey{policy, done}] = now
}

func (s *Stages) forget(policy string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, each := range steps {
		delete(s.last, stageKey{policy, each})
	}
	maps.DeleteFunc(s.back, func(of turn, _ time.Time) bool { return of.policy == policy })
}
