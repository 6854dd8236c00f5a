// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
)

// interrupted is the exit code of a program after Ctrl-C.
const interrupted = 130

// Run is the body of a TestMain: Run starts a control plane, sets *cp, runs the tests,
// stops the control plane, and returns the exit code. m is a *testing.M.
//
// SIGINT and SIGTERM stop the control plane in order. A panic of a test, or a SIGKILL, ends
// the test binary at once: the programs then end by themselves, and the next start removes
// the folder.
func Run(m interface{ Run() int }, o Options, cp **ControlPlane) int {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if o.GiveWay {
		lowerPriority()
	}
	started, err := Start(ctx, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testbed:", err)
		return 1
	}
	*cp = started

	ended := make(chan int, 1)
	go func() { ended <- m.Run() }()
	var code int
	select {
	case code = <-ended:
	case <-ctx.Done():
		cancel() // a second signal ends the process at once
		code = interrupted
	}
	if err := started.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "testbed:", err)
		code = max(code, 1)
	}
	return code
}

// Prepared returns the tests of m, to run after prepare has prepared the started control
// plane. If prepare fails, no test runs.
func Prepared(m interface{ Run() int }, prepare func(context.Context) error) interface{ Run() int } {
	return prepared{m, prepare}
}

type prepared struct {
	m       interface{ Run() int }
	prepare func(context.Context) error
}

// Run prepares the control plane, and runs the tests.
func (p prepared) Run() int {
	if err := p.prepare(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "preparing the cluster:", err)
		return 1
	}
	return p.m.Run()
}

// lowerPriority gives the process and all started programs a lower priority. On Linux each
// thread has a separate priority, inherited by later threads. A thread that starts while the
// threads are listed may have inherited the former priority: the list is read until all
// threads of it have the lower one.
func lowerPriority() {
	for changed := 1; changed > 0; {
		changed = lowerThreads()
	}
}

// lowerThreads lowers the priority of the current threads, and returns how many of them had
// another priority. A failure does not count: tests then merely compete for the processor.
func lowerThreads() (changed int) {
	const lower = 10
	threads, _ := filepath.Glob("/proc/self/task/*")
	for _, thread := range append(threads, "0") { // 0 is this process, where threads have no priority
		id, err := strconv.Atoi(filepath.Base(thread))
		if err != nil {
			continue
		}
		before, _ := syscall.Getpriority(syscall.PRIO_PROCESS, id)
		if syscall.Setpriority(syscall.PRIO_PROCESS, id, lower) != nil {
			continue
		}
		if after, _ := syscall.Getpriority(syscall.PRIO_PROCESS, id); after != before {
			changed++
		}
	}
	return changed
}
