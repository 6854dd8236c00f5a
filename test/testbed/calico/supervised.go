// SPDX-License-Identifier: Apache-2.0

package calico

import (
	"sync"

	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// configChanged is the exit code of Calico's daemons after a change of their configuration:
// the kubelet would then start the daemon again.
const configChanged = 129

// supervised is a program that is started again after the exit code configChanged.
type supervised struct {
	calico  *Calico
	program program

	mu       sync.Mutex
	process  *testbed.Process
	again    bool // the program was stopped to be started again
	stopping bool
	restarts int
	err      error // the reason why the program is not started again

	running sync.WaitGroup
}

func (c *Calico) supervise(p program) (*supervised, error) {
	process, err := c.startProgram(p)
	if err != nil {
		return nil, err
	}
	s := &supervised{calico: c, program: p, process: process}
	s.running.Go(func() {
		for goOn := true; goOn; goOn = s.restartProgram() {
			<-s.process.Done()
		}
	})
	return s, nil
}

// restartProgram starts the program again, unless the program is being stopped.
func (s *supervised) restartProgram() bool {
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

// endProcess ends the current process.
func (s *supervised) endProcess(again bool) {
	s.mu.Lock()
	s.again, s.stopping = again, !again
	process := s.process
	s.mu.Unlock()
	process.Stop()
}

func (s *supervised) stopProgram() {
	s.endProcess(false)
	s.running.Wait()
}

// Restarts returns how often the program was started again.
func (s *supervised) Restarts() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.restarts
}

// Died returns an error with the end of the log, when the program has ended and is not
// started again.
func (s *supervised) Died() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}
