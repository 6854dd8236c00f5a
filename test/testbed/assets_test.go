// SPDX-License-Identifier: Apache-2.0

package testbed_test

import (
	"os"
	"path/filepath"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// An assets folder of setup-envtest has three programs.
func TestAssetsOfEnvtestAlone(t *testing.T) {
	g := NewWithT(t)
	dir := t.TempDir()
	for _, name := range []string{"etcd", "kube-apiserver", "kubectl"} {
		g.Expect(os.WriteFile(filepath.Join(dir, name), nil, 0o700)).To(Succeed())
	}
	t.Setenv("KUBEBUILDER_ASSETS", dir)
	_, err := testbed.Start(t.Context(), testbed.Options{Kwok: true})
	g.Expect(err).To(MatchError(And(
		ContainSubstring("has no kwok"), ContainSubstring("run make testbed, or unset KUBEBUILDER_ASSETS"))))
}

// Without the variable the build script is run, for a test in any folder of this module,
// and not of a module below.
func TestAssetsAreBuilt(t *testing.T) {
	tests := map[string]struct{ script, want, err string }{
		"last line":  {script: "echo compiling >&2; echo first; echo /some/folder", want: "/some/folder"},
		"fails":      {script: "echo /some/folder; exit 3", err: "exit status 3"},
		"not a path": {script: "echo done", err: "done"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			root := t.TempDir()
			writeFile(t, filepath.Join(root, "go.mod"), "module github.com/cpnp-dev/cpnp-operator\n")
			writeFile(t, filepath.Join(root, "hack/testbed/controlplane/go.mod"), "module example.com/other\n")
			writeFile(t, filepath.Join(root, "hack/testbed/build-controlplane.sh"), "#!/bin/sh\n"+test.script+"\n")
			t.Chdir(filepath.Join(root, "hack/testbed/controlplane"))
			t.Setenv("KUBEBUILDER_ASSETS", "")

			var progress lockedBuffer
			dir, err := testbed.FindAssets(t.Context(), &progress)
			if test.err != "" {
				g.Expect(err).To(MatchError(ContainSubstring(test.err)))
				return
			}
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(dir).To(Equal(test.want))
			g.Expect(progress.String()).To(Equal("compiling\n"))
		})
	}
}

func TestAssetsOutsideTheRepository(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("KUBEBUILDER_ASSETS", "")
	_, err := testbed.FindAssets(t.Context(), os.Stderr)
	NewWithT(t).Expect(err).To(MatchError(ContainSubstring("set KUBEBUILDER_ASSETS")))
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
		t.Fatal(err)
	}
}
