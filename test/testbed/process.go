// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	"fmt"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// stopTimeout is how long a program may take to end after SIGTERM before it
// is killed. Its data are thrown away in any case.
const stopTimeout = 5 * time.Second

// serverStopTimeout is how long etcd and the API server may take. They end in order, and
// take long where they hold much, or where other tests have the processor.
const serverStopTimeout = time.Minute

// Process is a program that runs beside the API server.
type Process struct {
	name string
	cmd  *exec.Cmd
	logs *logs
	done chan struct{} // closed when the process is gone
}

// StartProcess starts another program beside the control plane. What it prints
// goes where the output of the control plane's programs goes, under this name;
// a name may be used again when its last process has ended. The program ends
// when this process does, in whatever way; the caller stops it before the
// control plane.
//
// start, when not nil, starts the command in place of its method: to do so
// from a thread that is elsewhere, for example. The thread must live as long
// as the program is wanted.
func (cp *ControlPlane) StartProcess(name string, cmd *exec.Cmd, start func(*exec.Cmd) error) (*Process, error) {
	if start == nil {
		start = (*exec.Cmd).Start
	}
	return cp.startProcess(name, cmd, start)
}

// startProcess starts a program in its own process group, so that a Ctrl-C in
// the terminal reaches only the test, which then stops things in order.
func (cp *ControlPlane) startProcess(name string, cmd *exec.Cmd, start func(*exec.Cmd) error) (*Process, error) {
	output, err := cp.logs.open(name)
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = output, output
	cmd.WaitDelay = stopTimeout
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	endWithThread(cmd)

	p := &Process{name: name, cmd: cmd, logs: cp.logs, done: make(chan struct{})}
	started := make(chan error, 1)
	go p.run(start, started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return p, nil
}

// run is the process from start to end. It stays on one thread, because one
// may be what the process ends with.
func (p *Process) run(start func(*exec.Cmd) error, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := start(p.cmd)
	started <- err
	if err != nil {
		return
	}
	_ = p.cmd.Wait() // what there is to know is in the ProcessState
	close(p.done)
}

// Done is closed when the process is gone.
func (p *Process) Done() <-chan struct{} { return p.done }

// PID is the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Died returns an error, with the end of its log, when the process has ended.
func (p *Process) Died() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s ended by itself: %s%s", p.name, p.cmd.ProcessState, p.logs.tail(p.name))
	default:
		return nil
	}
}

// ExitCode is that of a process that is gone, or -1 if a signal ended it.
func (p *Process) ExitCode() int {
	<-p.done
	return p.cmd.ProcessState.ExitCode()
}

// Stop ends the process and returns when it is gone.
func (p *Process) Stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	timeout := time.NewTimer(stopTimeout)
	defer timeout.Stop()
	select {
	case <-p.done:
	case <-timeout.C:
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}
