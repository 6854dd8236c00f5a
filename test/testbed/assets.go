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

// The files of an assets folder, named as envtest names them.
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
	// assetsVariable is envtest's own name for where the programs are.
	assetsVariable = "KUBEBUILDER_ASSETS"
	// buildScript builds the programs, or finds them built, and prints the
	// folder on its last line. `make testbed` is the same script.
	buildScript = "hack/testbed/build-controlplane.sh"
)

// moduleLine marks the go.mod of this repository's root: the modules below
// hack have others, and a go.mod further up is somebody else's.
var moduleLine = regexp.MustCompile(`(?m)^module github\.com/cpnp-dev/cpnp-operator$`)

// FindAssets returns the folder that holds the programs: KUBEBUILDER_ASSETS,
// or else what the build script says.
func FindAssets(ctx context.Context, progress io.Writer) (string, error) {
	return Assets(ctx, assetsVariable, buildScript, progress)
}

// Assets returns the folder that the variable names, or else the one that the
// build script of this repository prints, so that a bare `go test ./...` works
// too. The first build takes minutes; what it prints meanwhile goes to
// progress.
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

// FindBuilt is FindAssets where nothing is to be built: it returns "" if the programs of
// this version have not been built yet.
func FindBuilt(ctx context.Context) string { return Built(ctx, buildScript) }

// Built is Assets for a build script alone, which builds nothing.
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

// requireAssets says which file is missing and what to do about it: an assets
// folder that was made for envtest alone has neither scheduler nor kwok.
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

// moduleRoot is the nearest folder above the working directory that holds
// this module. `go test` runs every package in its own folder.
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

// buildAssets runs the build script in its own process group, so that a
// cancelled ctx ends the compilers too and not just the shell.
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
