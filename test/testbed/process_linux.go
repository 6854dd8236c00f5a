// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	"os/exec"
	"syscall"
)

// endWithThread has the kernel kill the program when the thread that starts it
// ends, as all do when this process is killed. It is for programs that do not
// watch over their parent, as those of the control plane do.
func endWithThread(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
}
