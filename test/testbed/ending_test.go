// SPDX-License-Identifier: Apache-2.0

package testbed_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// helperVariable makes the test binary a helper, which starts a control plane, prints
// helperReport as JSON, and waits for its end.
const helperVariable = "CPNP_TESTBED_HELPER"

type helperReport struct {
	Dir  string
	PIDs map[string]int
}

// runner takes the place of a *testing.M in testbed.Run.
type runner func() int

// Run runs the function.
func (r runner) Run() int { return r() }

func runHelper(ending string) int {
	var cp *testbed.ControlPlane
	options := testbed.Options{ControllerManager: true, Scheduler: true, Kwok: true, GiveWay: ending == givesWay}
	return testbed.Run(runner(func() int {
		if err := json.NewEncoder(os.Stdout).Encode(helperReport{Dir: cp.Dir, PIDs: cp.PIDs()}); err != nil {
			return 1
		}
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
		if ending == "panic" {
			panic("a test panics")
		}
		return 0
	}), options, &cp)
}

// givesWay is the helper with a lower priority.
const givesWay = "return"

// TestEndings: however the process of a control plane ends, no program of the control plane
// stays; and after an orderly end, no folder stays either.
func TestEndings(t *testing.T) {
	tests := map[string]struct {
		end   func(helper *exec.Cmd, stdin func()) error
		tidy  bool
		state string
	}{
		"return": {func(_ *exec.Cmd, stdin func()) error { stdin(); return nil }, true, "exit status 0"},
		"term":   {func(helper *exec.Cmd, _ func()) error { return helper.Process.Signal(syscall.SIGTERM) }, true, "exit status 130"},
		"kill":   {func(helper *exec.Cmd, _ func()) error { return helper.Process.Kill() }, false, "signal: killed"},
		"panic":  {func(_ *exec.Cmd, stdin func()) error { stdin(); return nil }, false, "exit status 2"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			helper, report, newline := startHelper(t, name)
			for _, pid := range report.PIDs {
				g.Expect(isRunning(pid)).To(BeTrue())
				priority, err := syscall.Getpriority(syscall.PRIO_PROCESS, pid)
				g.Expect(err).NotTo(HaveOccurred())
				own, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0)
				g.Expect(err).NotTo(HaveOccurred())
				g.Expect(priority != own).To(Equal(name == givesWay), "%d and %d", priority, own)
			}

			start := time.Now()
			g.Expect(test.end(helper, newline)).To(Succeed())
			_ = helper.Wait()
			g.Expect(helper.ProcessState.String()).To(Equal(test.state))
			g.Eventually(func(g Gomega) {
				for name, pid := range report.PIDs {
					g.Expect(isRunning(pid)).To(BeFalse(), name)
				}
			}, 10*time.Second, interval).Should(Succeed())
			t.Logf("all programs are gone after %s", time.Since(start).Round(time.Millisecond))
			if test.tidy {
				g.Expect(report.Dir).NotTo(BeADirectory())
			}
		})
	}
}

// startHelper returns once the helper's control plane runs. newline makes the helper
// continue.
func startHelper(t *testing.T, ending string) (helper *exec.Cmd, report helperReport, newline func()) {
	t.Helper()
	g := NewWithT(t)
	helper = exec.Command(os.Args[0])
	helper.Env = append(os.Environ(), helperVariable+"="+ending)
	stderr := &lockedBuffer{}
	helper.Stderr = stderr
	stdin, err := helper.StdinPipe()
	g.Expect(err).NotTo(HaveOccurred())
	stdout, err := helper.StdoutPipe()
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(helper.Start()).To(Succeed())
	t.Cleanup(func() {
		_ = helper.Process.Kill()
		_ = helper.Wait()
		if report.Dir != "" {
			_ = os.RemoveAll(report.Dir)
		}
	})
	err = json.NewDecoder(stdout).Decode(&report)
	g.Expect(err).NotTo(HaveOccurred(), stderr.String)
	g.Expect(report.PIDs).To(HaveLen(5))
	return helper, report, func() { _, _ = fmt.Fprintln(stdin) }
}

// isRunning tells a running process from a zombie: an orphan stays a zombie where process 1
// is no init.
func isRunning(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return !os.IsNotExist(err)
	}
	state := strings.TrimSpace(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	return !strings.HasPrefix(state, "Z")
}

// lockedBuffer is a bytes.Buffer for several goroutines.
type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

// Write adds to the buffer.
func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

// String returns the written text.
func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}
