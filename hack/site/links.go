// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
)

const (
	// repositoryURL is where the files are that are no pages.
	repositoryURL = "https://github.com/cpnp-dev/cpnp-operator"
	filesURL      = repositoryURL + "/blob/main/"
	foldersURL    = repositoryURL + "/tree/main/"
)

// linker turns links of Markdown pages into links of the site.
type linker struct {
	repository string
	pages      map[string][]byte
}

// convertLink returns the site's form of a link: a link to a page becomes a link to the
// HTML file, a link to another file of the repository becomes the file's URL, and all other
// links stay.
func (l linker) convertLink(page, link string) (string, error) {
	target, anchor, _ := strings.Cut(link, "#")
	if anchor != "" {
		anchor = "#" + anchor
	}
	switch rest, onGitHub := strings.CutPrefix(target, filesURL); {
	case target == "":
		return link, nil
	case onGitHub && l.pages[rest] != nil: // the README of the chart is read elsewhere too
		target = rest
	case strings.Contains(target, ":"):
		return link, nil
	default:
		target = path.Join(path.Dir(page), target)
	}
	if l.pages[target] != nil {
		return pathBetween(fileOf(page), fileOf(target)) + anchor, nil
	}
	info, err := os.Stat(filepath.Join(l.repository, filepath.FromSlash(target)))
	switch {
	case err != nil:
		return "", fmt.Errorf("%s links to %s: %w", page, link, err)
	case info.IsDir():
		return foldersURL + target + anchor, nil
	}
	return filesURL + target + anchor, nil
}
