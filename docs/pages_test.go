// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
)

// root is the folder of the repository.
const root = ".."

// generated are pages that a generator writes from code, and that other tests compare.
var generated = []string{"docs/api.md", "docs/profiles.md", "docs/timing.md", "docs/controls.md"}

// readPages returns the text of every page of the repository, by its path from the root.
func readPages(t *testing.T) map[string]string {
	t.Helper()
	pages := map[string]string{}
	walkFiles(t, root, []string{".md"}, func(path, text string) { pages[path] = text })
	NewWithT(t).Expect(len(pages)).To(BeNumerically(">", 20))
	return pages
}

// readWrittenPages is readPages without generated pages, and without the history of changes, which has former names.
func readWrittenPages(t *testing.T) map[string]string {
	t.Helper()
	pages := readPages(t)
	for _, path := range append(slices.Clone(generated), "CHANGELOG.md", "docs/glossary.md") {
		NewWithT(t).Expect(pages).To(HaveKey(path))
		delete(pages, path)
	}
	return pages
}

// readSource returns the text of all files in some folders whose names end in one of the
// suffixes; tests are left out.
func readSource(t *testing.T, suffixes []string, folders ...string) string {
	t.Helper()
	var all strings.Builder
	for _, folder := range folders {
		walkFiles(t, filepath.Join(root, folder), suffixes, func(path, text string) {
			if !strings.HasSuffix(path, "_test.go") {
				all.WriteString(text)
			}
		})
	}
	return all.String()
}

func walkFiles(t *testing.T, folder string, suffixes []string, visit func(path, text string)) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		name := filepath.Base(path)
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (name == ".git" || name == "bin" || name == "dist" || name == "testdata"):
			return fs.SkipDir
		case entry.IsDir() || !slices.ContainsFunc(suffixes, func(s string) bool { return strings.HasSuffix(name, s) }):
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, path)
		visit(filepath.ToSlash(relative), string(text))
		return err
	})
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
}
