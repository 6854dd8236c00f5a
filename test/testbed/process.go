// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	"fmt"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// stopTimeout is how long a program may take to end after SIGTERM before a SIGKILL. Its
// data are deleted in any case.
const stopTimeout = 5 * time.Second

// serverStopTimeout is how long etcd and the API server may take. Both end in order, and
// take long with much data, or while other tests have the processor.
const serverStopTimeout = time.Minute

// Process is a program that runs beside the API server.
type Process struct {
	name string
	cmd  *exec.Cmd
	logs *logs
	done chan struct{} // closed when the process is gone
}

// StartProcess starts another program beside the control plane. The program's output goes
// to the output of the control plane's programs, under the given name; a name may be used
// again after the end of the former process. The program ends with the calling process,
// even if the calling process is killed; the caller stops the program before the control
// plane.
//
// start, when not nil, starts the command in place of the command's method: for example,
// from a thread in another namespace. The thread must live as long as the program is
// needed.
func (cp *ControlPlane) StartProcess(name string, cmd *exec.Cmd, start func(*exec.Cmd) error) (*Process, error) {
	if start == nil {
		start = (*exec.Cmd).Start
	}
	return cp.startProcess(name, cmd, start)
}

// startProcess starts a program in a separate process group. A Ctrl-C in the terminal then
// reaches only the test, and the test stops all programs in order.
func (cp *ControlPlane) startProcess(name string, cmd *exec.Cmd, start func(*exec.Cmd) error) (*Process, error) {
	output, err := cp.logs.openWriter(name)
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
	go p.runProcess(start, started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return p, nil
}

// runProcess runs the process from start to end on the same thread, because the process may
// end with the thread.
func (p *Process) runProcess(start func(*exec.Cmd) error, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := start(p.cmd)
	started <- err
	if err != nil {
		return
	}
	_ = p.cmd.Wait() // the result is in the ProcessState
	close(p.done)
}

// Done returns a channel that is closed when the process is gone.
func (p *Process) Done() <-chan struct{} { return p.done }

// PID returns the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Died returns an error with the end of the log, when the process has ended.
func (p *Process) Died() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s ended by itself: %s%s", p.name, p.cmd.ProcessState, p.logs.quoteTail(p.name))
	default:
		return nil
	}
}

// ExitCode waits for the end of the process, and returns its exit code, or -1 if a signal
// ended the process.
func (p *Process) ExitCode() int {
	<-p.done
	return p.cmd.ProcessState.ExitCode()
}

// Stop ends the process, and returns when the process is gone.
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
