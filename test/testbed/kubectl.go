// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	"context"
	"fmt"
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

// ApplyKustomize installs what is in folders of config/, as the documentation says.
func (cp *ControlPlane) ApplyKustomize(ctx context.Context, folders ...string) error {
	for _, folder := range folders {
		apply := cp.Kubectl(ctx, "apply", "--server-side", "--force-conflicts", "--kustomize", folder)
		if out, err := apply.CombinedOutput(); err != nil {
			return fmt.Errorf("installing %s: %w: %s", folder, err, out)
		}
	}
	return nil
}
