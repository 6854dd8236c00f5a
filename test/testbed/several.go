// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
)

// RunSeveral is like Run with several control planes, for tests that mostly wait: each test
// takes a control plane for itself. All control planes are started and prepared side by
// side. prepare may start further programs, which stop stops before the control plane; stop
// may be nil.
func RunSeveral(
	m interface{ Run() int }, o Options, count int, prepare func(context.Context, *ControlPlane) (stop func() error, err error),
) int {
	var first *ControlPlane
	return Run(&several{m: m, options: o, count: count, first: &first, prepare: prepare}, o, &first)
}

type several struct {
	m       interface{ Run() int }
	options Options
	count   int
	first   **ControlPlane // started by Run
	prepare func(context.Context, *ControlPlane) (func() error, error)

	mu    sync.Mutex
	stops []func() error
}

// Run starts the other control planes, runs the tests, and stops what was started.
func (s *several) Run() (code int) {
	defer func() {
		if err := inParallel(len(s.stops), func(i int) error { return s.stops[i]() }); err != nil {
			fmt.Fprintln(os.Stderr, "stopping the clusters:", err)
			code = max(code, 1)
		}
	}()
	if err := inParallel(s.count, func(i int) error { return s.startOne(context.Background(), i) }); err != nil {
		fmt.Fprintln(os.Stderr, "preparing the clusters:", err)
		return 1
	}
	return s.m.Run()
}

// startOne prepares the control plane that Run has started, or another one.
func (s *several) startOne(ctx context.Context, number int) (err error) {
	cp, stopPlane := *s.first, func() error { return nil } // Run stops the first
	if number > 0 {
		if cp, err = Start(ctx, s.options); err != nil {
			return err
		}
		stopPlane = cp.Stop
	}
	stop, err := s.prepare(ctx, cp)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stops = append(s.stops, func() error {
		if stop == nil {
			return stopPlane()
		}
		return errors.Join(stop(), stopPlane())
	})
	return err
}

// inParallel runs a function so many times in parallel, since most of the time is waiting.
func inParallel(times int, do func(i int) error) error {
	errs := make([]error, times)
	var doing sync.WaitGroup
	for i := range times {
		doing.Go(func() { errs[i] = do(i) })
	}
	doing.Wait()
	return errors.Join(errs...)
}
