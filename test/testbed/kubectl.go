// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
)

// Kubectl returns a kubectl command as the admin, for the caller to run. The command
// neither reads nor writes the home folder.
func (cp *ControlPlane) Kubectl(ctx context.Context, args ...string) *exec.Cmd {
	args = append([]string{"--cache-dir=" + filepath.Join(cp.Dir, "kubectl-cache")}, args...)
	cmd := exec.CommandContext(ctx, filepath.Join(cp.AssetsDir, kubectl), args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+cp.KubeconfigPath, "KUBERC=off")
	return cmd
}
