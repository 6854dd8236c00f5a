// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	"os/exec"
	"syscall"
)

// endWithThread has the kernel kill the program when the thread that starts it
// ends, as all do when this process is killed. Those of the control plane watch
// their parent themselves, but not before they have come to it, which takes a
// second on a busy machine.
func endWithThread(cmd *exec.Cmd) { cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL }
