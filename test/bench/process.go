// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// process is a program that is measured.
type process struct {
	cmd *exec.Cmd
	log *os.File
	lap time.Duration // the processor time at the end of the last lap
}

// start starts a program, whose log goes to a file of its name. It ends with
// ctx at the latest.
func (b *bench) start(ctx context.Context, name, program string, environment []string, args ...string) (*process, error) {
	log, err := os.OpenFile(filepath.Join(b.dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdout, cmd.Stderr, cmd.Env = log, log, append(os.Environ(), environment...)
	return &process{cmd: cmd, log: log}, cmd.Start()
}

// stop ends the program and returns when it is gone.
func (p *process) stop() {
	if p.cmd.Process == nil || p.cmd.ProcessState != nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	_ = p.cmd.Wait()
	_ = p.log.Close()
}

// kill ends the program as a crash does.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	_ = p.log.Close()
}

// cpu is the processor time that the program has used: proc_pid_stat(5), in
// ticks of 10 ms on every architecture that Go knows.
func (p *process) cpu() (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])) // from the third field on
	var ticks int
	for _, field := range []int{14, 15} { // utime, stime
		value, err := strconv.Atoi(fields[field-3])
		if err != nil {
			return 0, err
		}
		ticks += value
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

// since is the processor time that the program has used since the last call.
func (p *process) since() (time.Duration, error) {
	now, err := p.cpu()
	used := now - p.lap
	p.lap = now
	return used, err
}

// memory is a line of proc_pid_status(5) in bytes: VmRSS is resident memory,
// RssAnon the part of it that is no page of the program's own file, VmHWM the
// peak.
func (p *process) memory(line string) (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for text := range strings.Lines(string(status)) {
		if value, found := strings.CutPrefix(text, line+":"); found {
			size, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")))
			return float64(size) * 1024, err
		}
	}
	return 0, fmt.Errorf("the process has no %s: it has ended", line)
}

// quiet returns when the program has done next to nothing for a second.
func (p *process) quiet(ctx context.Context) error {
	const every, calm, limit = 100 * time.Millisecond, time.Second, 2 * time.Minute
	const little = 30 * time.Millisecond
	var since time.Time
	var before time.Duration
	return wait.PollUntilContextTimeout(ctx, every, limit, true, func(context.Context) (bool, error) {
		now, err := p.cpu()
		if since.IsZero() || now-before > little {
			since, before = time.Now(), now
		}
		return time.Since(since) > calm, err
	})
}
