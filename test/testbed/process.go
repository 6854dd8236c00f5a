// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	"fmt"
	"io"
	"os/exec"
	"syscall"
	"time"
)

// stopTimeout is how long a program may take to end after SIGTERM before it
// is killed. Its data are thrown away in any case.
const stopTimeout = 5 * time.Second

// process is one program that this package started itself.
type process struct {
	name string
	cmd  *exec.Cmd
	done chan struct{} // closed when the process is gone
	err  error         // how it ended; to be read after done
}

// startProcess starts a program in its own process group, so that a Ctrl-C in
// the terminal reaches only the test, which then stops things in order.
func startProcess(name, path string, args []string, output io.Writer) (*process, error) {
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = stopTimeout
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &process{name: name, cmd: cmd, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.err = cmd.Wait()
	}()
	return p, nil
}

// died returns an error when the process has ended.
func (p *process) died() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s ended by itself: %s", p.name, p.cmd.ProcessState)
	default:
		return nil
	}
}

// stop ends the process and returns when it is gone.
func (p *process) stop() {
	if p.died() != nil {
		return
	}
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
