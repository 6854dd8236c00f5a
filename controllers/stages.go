// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"maps"
	"sync"
	"time"

	"github.com/cpnp-dev/cpnp-operator/internal/plan/calico"
)

// stageTime is how long a stage's objects have to reach every node before the
// next stage begins. A Felix takes 0.7 to 1.7 seconds from the API server to
// its rules.
const stageTime = 2 * time.Second

// restarts is how many times stageTime failsafe ports have: a Felix that is
// configured otherwise starts anew, which takes 2.8 seconds on a small node.
const restarts = 2.5

// Stages remembers when each stage of a policy's objects was last written. At
// first all of them count as just written, since another operator may have
// done so. It is safe for concurrent use.
type Stages struct {
	// Time is how long a stage has to reach every node; failsafe ports have longer.
	Time time.Duration

	mu      sync.Mutex
	started time.Time
	last    map[stageKey]time.Time
	back    map[turn]time.Time
}

// step is a stage in one of the two directions.
type step struct {
	number   int
	removing bool
}

type stageKey struct {
	policy string
	step
}

const firstStage, lastStage = calico.StageAddresses, calico.StageScopedFailsafes

// wait returns how long a stage has to wait: what is written for the stages
// before it, and what is deleted for those after it, must have been seen.
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

// settling returns for how long what another operator wrote may not have reached
// every node yet.
func (s *Stages) settling(now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begin(now)
	return max(0, s.started.Add(s.Time).Sub(now))
}

// tookBack notes that something of a node was taken back.
func (s *Stages) tookBack(policy, node string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.back == nil {
		s.back = map[turn]time.Time{}
	}
	s.back[turn{policy, node}] = now
}

// waitBack returns for how long what was taken back of a node, failsafe ports it may
// be, has not reached it yet.
func (s *Stages) waitBack(policy, node string, now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	when, known := s.back[turn{policy, node}]
	if !known {
		return 0
	}
	return max(0, when.Add(s.reaches(step{number: calico.StageScopedFailsafes})).Sub(now))
}

// reaches returns how long what a step writes has to reach every node.
func (s *Stages) reaches(written step) time.Duration {
	if written.number == calico.StageScopedFailsafes {
		return time.Duration(restarts * float64(s.Time))
	}
	return s.Time
}

// steps are all there are.
var steps = func() []step {
	var all []step
	for number := firstStage; number <= lastStage; number++ {
		all = append(all, step{number: number}, step{number: number, removing: true})
	}
	return all
}()

// precedes says whether what a step did must have been seen before the next one
// begins. What goes that nobody needs any more holds up no write, but for failsafe
// ports: they are widened before a node gets other rules.
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
