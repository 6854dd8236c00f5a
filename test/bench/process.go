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

// process is a measured program.
type process struct {
	cmd *exec.Cmd
	log *os.File
	lap time.Duration // the processor time at the end of the last lap
}

// startProgram starts a program with a log file of the same name. The program ends with ctx
// at the latest.
func (b *bench) startProgram(ctx context.Context, name, program string, environment []string, args ...string) (*process, error) {
	log, err := os.OpenFile(filepath.Join(b.dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdout, cmd.Stderr, cmd.Env = log, log, append(os.Environ(), environment...)
	return &process{cmd: cmd, log: log}, cmd.Start()
}

// stopProgram stops the program, and waits for the end.
func (p *process) stopProgram() {
	if p.cmd.Process == nil || p.cmd.ProcessState != nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	_ = p.cmd.Wait()
	_ = p.log.Close()
}

// killProgram ends the program as a crash does.
func (p *process) killProgram() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	_ = p.log.Close()
}

// cpuTime returns the processor time of the program: proc_pid_stat(5), in ticks of 10 ms on
// every architecture of Go.
func (p *process) cpuTime() (time.Duration, error) {
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

// cpuSinceLastCall returns the processor time since the last call.
func (p *process) cpuSinceLastCall() (time.Duration, error) {
	now, err := p.cpuTime()
	used := now - p.lap
	p.lap = now
	return used, err
}

// memoryOf returns a line of proc_pid_status(5) in bytes: VmRSS is resident memory, RssAnon
// the part without pages of the program's own file, VmHWM the peak.
func (p *process) memoryOf(line string) (float64, error) {
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

// waitUntilIdle waits until the program has done almost nothing for a second.
func (p *process) waitUntilIdle(ctx context.Context) error {
	const every, calm, limit = 100 * time.Millisecond, time.Second, 2 * time.Minute
	const little = 30 * time.Millisecond
	var since time.Time
	var before time.Duration
	return wait.PollUntilContextTimeout(ctx, every, limit, true, func(context.Context) (bool, error) {
		now, err := p.cpuTime()
		if since.IsZero() || now-before > little {
			since, before = time.Now(), now
		}
		return time.Since(since) > calm, err
	})
}
