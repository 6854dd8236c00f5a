// SPDX-License-Identifier: Apache-2.0

package calico

import (
	"sync"

	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// configChanged is how Calico's daemons end when their configuration is
// another: they want to be started again, as the kubelet would.
const configChanged = 129

// supervised is a program that is started again when it ends for that reason.
type supervised struct {
	calico  *Calico
	program program

	mu       sync.Mutex
	process  *testbed.Process
	again    bool // it was told to end, to be started again
	stopping bool
	restarts int
	err      error // why it is not started again

	running sync.WaitGroup
}

func (c *Calico) supervise(p program) (*supervised, error) {
	process, err := c.startProgram(p)
	if err != nil {
		return nil, err
	}
	s := &supervised{calico: c, program: p, process: process}
	s.running.Go(func() {
		for goOn := true; goOn; goOn = s.restart() {
			<-s.process.Done()
		}
	})
	return s, nil
}

// restart starts the program again, when it is to run.
func (s *supervised) restart() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.stopping:
		return false
	case s.again, s.process.ExitCode() == configChanged:
		s.again = false
		s.restarts++
		process, err := s.calico.startProgram(s.program)
		if err == nil {
			s.process = process
		}
		s.err = err
	default:
		s.err = s.process.Died()
	}
	return s.err == nil
}

// end ends the process that runs now.
func (s *supervised) end(again bool) {
	s.mu.Lock()
	s.again, s.stopping = again, !again
	process := s.process
	s.mu.Unlock()
	process.Stop()
}

func (s *supervised) stop() {
	s.end(false)
	s.running.Wait()
}

// Restarts is how often the program was started again.
func (s *supervised) Restarts() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.restarts
}

// Died returns an error, with the end of its log, when the program has ended
// and is not started again.
func (s *supervised) Died() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}
