// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// childrenOf returns the programs started by the current process for the control plane in
// dir, by process id: all programs have dir in the arguments. Process ids are read from
// /proc, because envtest reports no process ids. Without /proc there are none.
func childrenOf(dir string) map[int]string {
	found := map[int]string{}
	folders, _ := filepath.Glob("/proc/[0-9]*")
	for _, folder := range folders {
		if parentOf(folder) != os.Getpid() {
			continue
		}
		cmdline, err := os.ReadFile(filepath.Join(folder, "cmdline"))
		if err != nil || !bytes.Contains(cmdline, []byte(dir)) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(folder))
		if err != nil {
			continue
		}
		program, _, _ := strings.Cut(string(cmdline), "\x00")
		found[pid] = filepath.Base(program)
	}
	return found
}

// parentOf returns the parent's process id, or 0. The second field of stat is the program's
// name in parentheses, which may contain spaces and parentheses.
func parentOf(folder string) int {
	stat, err := os.ReadFile(filepath.Join(folder, "stat"))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 2 {
		return 0
	}
	parent, _ := strconv.Atoi(fields[1])
	return parent
}

// killChildren kills the remaining programs of the control plane in dir: envtest sends a
// SIGKILL to a slow API server, but does not wait for its end.
func killChildren(dir string) error {
	var left map[int]string
	err := wait.PollUntilContextTimeout(context.Background(), pollInterval, stopTimeout, true, func(context.Context) (bool, error) {
		left = childrenOf(dir)
		for pid := range left {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		return len(left) == 0, nil
	})
	if err != nil {
		return fmt.Errorf("still running %s after SIGKILL: %v", stopTimeout, left)
	}
	return nil
}

// pollInterval is how often a condition without notification is checked.
const pollInterval = 50 * time.Millisecond
