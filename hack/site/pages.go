// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// included are the files and folders whose pages are in the site.
var included = []string{"README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "docs", "charts"}

// findPages returns the text of each page of the site, by its path in the repository.
func findPages(repository string) (map[string][]byte, error) {
	pages := map[string][]byte{}
	for _, root := range included {
		err := filepath.WalkDir(filepath.Join(repository, root), func(file string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || path.Ext(file) != ".md" {
				return err
			}
			name, err := filepath.Rel(repository, file)
			if err != nil {
				return err
			}
			pages[filepath.ToSlash(name)], err = os.ReadFile(file)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return pages, nil
}

// fileOf returns the path of a page in the site. A README is the index of its folder.
func fileOf(page string) string {
	folder, name := path.Split(page)
	if name == "README.md" {
		return folder + "index.html"
	}
	return folder + strings.TrimSuffix(name, ".md") + ".html"
}

// pathBetween returns the relative link from one file of the site to another.
func pathBetween(from, to string) string {
	up := strings.Repeat("../", strings.Count(from, "/"))
	return up + to
}
