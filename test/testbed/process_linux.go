// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	"os/exec"
	"syscall"
)

// endWithThread makes the kernel kill the program when its starting thread ends, as all
// threads do when this process is killed. The programs of the control plane also watch
// their parent, but only some time after their start, which takes a second on a busy
// machine.
func endWithThread(cmd *exec.Cmd) { cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL }
