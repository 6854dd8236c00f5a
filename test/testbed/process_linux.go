// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	"os/exec"
	"syscall"
)

// endWithThread makes the kernel kill the program at the end of the starting thread, and
// all threads end when the process is killed. The programs of the control plane also watch
// the parent process, but only some time after the start: a second on a busy machine.
func endWithThread(cmd *exec.Cmd) { cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL }
