// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// tags leave the unneeded service discoveries out of Prometheus.
const tags = "-tags=remove_all_sd,enable_kubernetes_sd"

// File returns the path of a file of the repository.
func File(name string) string {
	_, here, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(here), "../../..", filepath.FromSlash(name))
}

// ReadFile returns the text of a file of the repository.
func ReadFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(File(name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Promtool returns the path of promtool.
func Promtool(t *testing.T) string {
	t.Helper()
	return buildTool(t, "promtool")
}

// buildTool returns the path of a program in the folder CPNP_PROMETHEUS. Without the
// variable, the go command builds and keeps the program on first use.
func buildTool(t *testing.T, name string) string {
	t.Helper()
	if folder := os.Getenv("CPNP_PROMETHEUS"); folder != "" {
		return filepath.Join(folder, name)
	}
	cmd := exec.Command("go", "tool", "-n", "-modfile="+File("hack/prometheus/go.mod"), name)
	cmd.Env = append(os.Environ(), "GOFLAGS="+strings.TrimSpace(os.Getenv("GOFLAGS")+" "+tags))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("building %s: %v", name, err)
	}
	return strings.TrimSpace(string(out))
}
