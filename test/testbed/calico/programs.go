// SPDX-License-Identifier: Apache-2.0

package calico

import (
	"os"
	"os/exec"
	"path/filepath"

	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// program is how to start one of Calico's programs.
type program struct {
	name       string // of its log
	file       string
	kubeconfig string
	args       []string
	env        []string
	start      func(*exec.Cmd) error // the command's own if nil
}

// startProgram starts a program in an environment that is not that of the
// test, where a variable might configure it. All of them take variables.
func (c *Calico) startProgram(p program) (*testbed.Process, error) {
	cmd := exec.Command(filepath.Join(c.assets, p.file), p.args...)
	cmd.Dir = "/" // wherever it is started, there is one
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"),
		"DATASTORE_TYPE=kubernetes",
		"KUBECONFIG=" + p.kubeconfig,
	}, p.env...)
	return c.cp.StartProcess(p.name, cmd, p.start)
}
