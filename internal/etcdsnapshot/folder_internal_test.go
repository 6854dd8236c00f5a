// SPDX-License-Identifier: Apache-2.0

package etcdsnapshot

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/gomega"
)

func TestFoldersThatAreRefused(t *testing.T) {
	parent := t.TempDir()
	file := filepath.Join(parent, "file")
	NewWithT(t).Expect(os.WriteFile(file, nil, 0o600)).To(Succeed())
	for name, test := range map[string]struct {
		path string
		mode os.FileMode
		want string
	}{
		"missing":    {path: filepath.Join(parent, "missing"), want: "does not exist: create it with install -d -m 0700"},
		"a file":     {path: file, want: "is not a folder"},
		"readable":   {mode: 0o744, want: "everybody may use the folder"},
		"searchable": {mode: 0o701, want: "(mode 0701)"},
		"writable":   {mode: 0o702, want: "chmod 0700"},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			if test.path == "" {
				test.path = t.TempDir()
				g.Expect(os.Chmod(test.path, test.mode)).To(Succeed())
			}
			_, err := openFolder(test.path)
			g.Expect(err).To(MatchError(ContainSubstring(test.want)))
		})
	}
}

// The folder belongs to one run at a time, and is free again after its end.
func TestFolderIsLocked(t *testing.T) {
	g := NewWithT(t)
	dir := t.TempDir()
	g.Expect(os.Chmod(dir, 0o750)).To(Succeed(), "a group may read it")
	first, err := openFolder(dir)
	g.Expect(err).NotTo(HaveOccurred())
	_, err = openFolder(dir)
	g.Expect(err).To(MatchError(ContainSubstring("another run writes to the folder")))
	g.Expect(first.close()).To(Succeed())
	second, err := openFolder(dir)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(second.close()).To(Succeed())
}

func TestProgressIsDescribed(t *testing.T) {
	g := NewWithT(t)
	g.Expect(describeProgress(50<<20, 200<<20, 10<<20, 5*time.Second)).To(Equal("50.0 MiB of 200.0 MiB written (25%), 2.0 MiB/s"))
	g.Expect(describeProgress(201<<20, 200<<20, 0, 5*time.Second)).To(Equal("201.0 MiB of 200.0 MiB written (100%), 0 B/s"))
	g.Expect(describeProgress(512, 0, 512, time.Second)).To(Equal("512 B written, 512 B/s"))
	g.Expect(formatBytes(3<<40 + 1<<39)).To(Equal("3.5 TiB"))
	g.Expect(formatBytes(5 << 50)).To(Equal("5120.0 TiB"))
}
