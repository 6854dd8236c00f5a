// SPDX-License-Identifier: Apache-2.0

package calico

import (
	"os"
	"os/exec"
	"path/filepath"

	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// program describes how to start one of Calico's programs.
type program struct {
	name       string // of its log
	file       string
	kubeconfig string
	args       []string
	env        []string
	start      func(*exec.Cmd) error // the command's own Start if nil
}

// startProgram starts a program without the environment of the test, because any variable
// there might configure the program.
func (c *Calico) startProgram(p program) (*testbed.Process, error) {
	cmd := exec.Command(filepath.Join(c.assets, p.file), p.args...)
	cmd.Dir = "/" // a folder that exists on every machine
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"),
		"DATASTORE_TYPE=kubernetes",
		"KUBECONFIG=" + p.kubeconfig,
	}, p.env...)
	return c.cp.StartProcess(p.name, cmd, p.start)
}
