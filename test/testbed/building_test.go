// SPDX-License-Identifier: Apache-2.0

package testbed_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
)

// Common functions of the build scripts: a build tells the progress, counts only packages
// left to compile, runs once, and is found without building.
func TestBuildsTellHowFarTheyAre(t *testing.T) {
	g := NewWithT(t)
	lib, err := filepath.Abs("../../hack/testbed/lib.sh")
	g.Expect(err).NotTo(HaveOccurred())
	dir := t.TempDir()
	step := filepath.Join(dir, "step")
	// The fake Go compiles two of four packages, and waits after each step until the
	// progress was shown.
	writeFile(t, filepath.Join(dir, "bin/go"), `#!/usr/bin/env bash
pause() { until grep -q "$1" "`+step+`"; do read -rt 0.01 <> <(:) || :; done; }
case $1 in
list)
	[[ "$*" != *"-o "* ]] || exit 1
	echo "go: downloading a v1" >&2
	pause 'downloading modules, 1 so far'
	printf 'stale dependency\n\nnot installed but available in build cache\nbuild ID mismatch\n'
	;;
build)
	pause '0 of 2 packages compiled'
	echo a/b >&2
	pause '1 of 2 packages compiled'
	if [[ -v FAIL ]]; then printf '# c/d\nc/d/x.go:1:1: broken\n' >&2; exit 1; fi
	echo c/d >&2
	pause '2 packages compiled, linking'
	touch "${@: -2:1}"
	;;
esac
`)
	writeFile(t, filepath.Join(dir, "build.sh"), `set -euo pipefail
source "`+lib+`"
build() { go build -trimpath -ldflags "-s -w" -o "$1/program" ./x; }
build_once thing 123 build
`)
	run := func(arguments ...string) (string, string, error) {
		progress, err := os.Create(step)
		g.Expect(err).NotTo(HaveOccurred())
		defer progress.Close()
		cmd := exec.CommandContext(t.Context(), "bash", append([]string{filepath.Join(dir, "build.sh")}, arguments...)...)
		cmd.Env = append(os.Environ(), "PATH="+filepath.Join(dir, "bin")+":"+os.Getenv("PATH"),
			"CPNP_TESTBED_CACHE="+filepath.Join(dir, "cache"), "CPNP_TESTBED_HEARTBEAT=0.02")
		cmd.Stderr = progress
		out, err := cmd.Output()
		told, readErr := os.ReadFile(step)
		g.Expect(readErr).NotTo(HaveOccurred())
		return strings.TrimSpace(string(out)), string(told), err
	}
	_, _, err = run("--find")
	g.Expect(err).To(HaveOccurred(), "nothing was built")
	g.Expect(filepath.Join(dir, "cache")).NotTo(BeADirectory())

	t.Setenv("FAIL", "")
	_, told, err := run()
	g.Expect(err).To(HaveOccurred())
	g.Expect(told).To(And(ContainSubstring("testbed: the build failed:\n"), ContainSubstring("# c/d\nc/d/x.go:1:1: broken\n")))
	g.Expect(filepath.Glob(filepath.Join(dir, "cache", "unfinished*"))).To(BeEmpty())
	g.Expect(os.Unsetenv("FAIL")).To(Succeed())

	folder, told, err := run()
	g.Expect(err).NotTo(HaveOccurred(), told)
	g.Expect(folder).To(Equal(filepath.Join(dir, "cache", "thing-123")))
	g.Expect(filepath.Join(folder, "program")).To(BeAnExistingFile())
	g.Expect(told).To(MatchRegexp(`(?s)thing: downloading modules, 1 so far, \d+ s.*thing: 0 of 2 .*thing: 1 of 2 .*thing: 2 packages compiled, linking, \d+ s`))
	for _, again := range [][]string{{"--find"}, nil} {
		found, told, err := run(again...)
		g.Expect(err).NotTo(HaveOccurred(), told)
		g.Expect(found).To(Equal(folder))
		g.Expect(told).To(BeEmpty())
	}
}
