// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	. "github.com/onsi/gomega"
)

// The demo uses existing programs: first the folder named by the user, then the built test
// bed, then the programs installed by setup-envtest. The demo builds only where no programs
// exist.
func TestExistingProgramsAreUsed(t *testing.T) {
	small := []string{"etcd", "kube-apiserver", "kubectl"}
	all := append([]string{"kube-controller-manager", "kube-scheduler", "kwok", "kwok-stages.yaml"}, small...)
	const platform = runtime.GOOS + "-" + runtime.GOARCH
	tests := map[string]struct {
		set              []string // files in the folder named by KUBEBUILDER_ASSETS
		built            []string
		installed        map[string][]string
		want             string
		small, mustBuild bool
		err              string
	}{
		"no programs exist":                            {mustBuild: true},
		"the user's programs":                          {set: all, built: all, want: "set"},
		"the user's programs of envtest":               {set: small, built: all, want: "set", small: true},
		"the user's programs without kubectl":          {set: small[:2], built: all, err: "has no kubectl"},
		"built programs":                               {built: all, installed: map[string][]string{"1.37.2-" + platform: small}, want: "built"},
		"setup-envtest's":                              {installed: map[string][]string{"1.37.2-" + platform: small}, want: "1.37.2-" + platform, small: true},
		"the newest of setup-envtest":                  {installed: map[string][]string{"1.34.10-" + platform: small, "1.34.9-" + platform: small, "1.33.11-" + platform: small}, want: "1.34.10-" + platform, small: true},
		"too old":                                      {installed: map[string][]string{"1.30.3-" + platform: small}, mustBuild: true},
		"for another platform":                         {installed: map[string][]string{"1.37.2-plan9-mips": small}, mustBuild: true},
		"setup-envtest was interrupted":                {installed: map[string][]string{"1.37.2-" + platform: small[:1]}, mustBuild: true},
		"another folder beside those of setup-envtest": {installed: map[string][]string{"latest": small}, mustBuild: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			root, home := t.TempDir(), t.TempDir()
			t.Setenv("HOME", home)
			t.Setenv("XDG_DATA_HOME", "")
			t.Setenv("KUBEBUILDER_ASSETS", "")
			writeFile(t, filepath.Join(root, "go.mod"), "module github.com/cpnp-dev/cpnp-operator\n")
			script := "#!/bin/sh\n[ \"$1\" = --find ] || exec touch " + filepath.Join(root, "was-built") + "\n"
			if test.built == nil {
				script += "exit 1\n"
			}
			writeFile(t, filepath.Join(root, "hack/testbed/build-controlplane.sh"), script+"echo "+filepath.Join(root, "built")+"\n")
			t.Chdir(root)
			fillFolder(t, filepath.Join(root, "built"), test.built)
			fillFolder(t, filepath.Join(root, "set"), test.set)
			if test.set != nil {
				t.Setenv("KUBEBUILDER_ASSETS", "set")
			}
			store := filepath.Join(home, ".local/share/kubebuilder-envtest/k8s")
			if runtime.GOOS == "darwin" {
				store = filepath.Join(home, "Library/Application Support/io.kubebuilder.envtest/k8s")
			}
			for folder, files := range test.installed {
				fillFolder(t, filepath.Join(store, folder), files)
			}

			found, there, err := findPrograms(t.Context())
			g.Expect(filepath.Join(root, "was-built")).NotTo(BeAnExistingFile())
			if test.err != "" {
				g.Expect(err).To(MatchError(ContainSubstring(test.err)))
				return
			}
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(there).To(Equal(!test.mustBuild))
			if there {
				g.Expect(filepath.Base(found.dir)).To(Equal(test.want))
			}
			g.Expect(found.small).To(Equal(test.small))
		})
	}
}

func fillFolder(t *testing.T, dir string, files []string) {
	t.Helper()
	for _, file := range files {
		writeFile(t, filepath.Join(dir, file), "")
	}
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
