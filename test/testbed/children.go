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

// children are the processes that this one started for the control plane in
// dir, by process id: all of them have that folder in their arguments. It is
// read from /proc, because envtest tells no process ids; where there is no
// /proc it finds none.
func children(dir string) map[int]string {
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

// parentOf is the parent's process id, or 0. The second field of stat is the
// program's name in parentheses, which may itself hold spaces and parentheses.
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

// killChildren ends what is left of the control plane in dir: envtest sends a
// SIGKILL to an API server that does not end in time, but does not wait for it.
func killChildren(dir string) error {
	var left map[int]string
	err := wait.PollUntilContextTimeout(context.Background(), pollInterval, stopTimeout, true, func(context.Context) (bool, error) {
		left = children(dir)
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

// pollInterval is how often a condition is looked at that nothing announces.
const pollInterval = 50 * time.Millisecond
