// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
)

// The files of an assets folder, named as envtest names the same files.
const (
	etcd              = "etcd"
	apiServer         = "kube-apiserver"
	controllerManager = "kube-controller-manager"
	scheduler         = "kube-scheduler"
	kubectl           = "kubectl"
	kwok              = "kwok"
	kwokStages        = "kwok-stages.yaml"
)

const (
	// assetsVariable is envtest's own variable for the folder of the programs.
	assetsVariable = "KUBEBUILDER_ASSETS"
	// buildScript builds the programs, or finds the built programs, and prints the folder
	// in its last line. `make testbed` runs the same script.
	buildScript = "hack/testbed/build-controlplane.sh"
)

// moduleLine marks the go.mod of this repository's root: the modules below hack have other
// lines, and a go.mod further up belongs to another project.
var moduleLine = regexp.MustCompile(`(?m)^module github\.com/cpnp-dev/cpnp-operator$`)

// FindAssets returns the folder of the programs: KUBEBUILDER_ASSETS, or else the folder of
// the build script.
func FindAssets(ctx context.Context, progress io.Writer) (string, error) {
	return Assets(ctx, assetsVariable, buildScript, progress)
}

// Assets returns the folder in the variable, or else the folder printed by the build script
// of the repository: a bare `go test ./...` works too. The first build takes minutes, and
// the build's output goes to progress.
func Assets(ctx context.Context, variable, script string, progress io.Writer) (string, error) {
	if dir := os.Getenv(variable); dir != "" {
		return filepath.Abs(dir)
	}
	root, err := moduleRoot()
	if err != nil {
		return "", fmt.Errorf("%w: set %s", err, variable)
	}
	return buildAssets(ctx, root, script, progress)
}

// FindBuilt is FindAssets without a build: FindBuilt returns "" if the programs of this
// version have not been built yet.
func FindBuilt(ctx context.Context) string { return Built(ctx, buildScript) }

// Built is Assets without a variable and without a build.
func Built(ctx context.Context, script string) string {
	root, err := moduleRoot()
	if err != nil {
		return ""
	}
	dir, err := buildAssets(ctx, root, script, io.Discard, "--find")
	if err != nil {
		return ""
	}
	return dir
}

// requireAssets names the missing file, and what to do: an assets folder for envtest alone
// has neither scheduler nor kwok.
func requireAssets(dir string, files []string) error {
	for _, file := range files {
		if _, err := os.Stat(filepath.Join(dir, file)); errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%s has no %s: run make testbed, or unset %s", dir, file, assetsVariable)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// moduleRoot returns the nearest folder of the module above the working directory. `go
// test` runs every package in the package's folder.
func moduleRoot() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		content, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && moduleLine.Match(content) {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("the test bed's programs are built from the repository, and %s is not in it", start)
		}
	}
}

// buildAssets runs the build script in a separate process group. A cancelled ctx then ends
// the compilers too, and not only the shell.
func buildAssets(ctx context.Context, root, script string, progress io.Writer, arguments ...string) (string, error) {
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, filepath.Join(root, script), arguments...)
	cmd.Dir = root
	cmd.Stdout = &out
	cmd.Stderr = progress
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = stopTimeout
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w", script, err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	dir := lines[len(lines)-1]
	if !filepath.IsAbs(dir) {
		return "", fmt.Errorf("%s: its last line is no absolute path: %q", script, dir)
	}
	return dir, nil
}
