// SPDX-License-Identifier: Apache-2.0

package main

import (
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/yuin/goldmark/ast"
)

// index is the page whose sections and links are the navigation.
const index = "docs/README.md"

// section is a part of the navigation.
type section struct {
	Title   string
	Entries []entry
}

// entry leads to a page.
type entry struct {
	Title string
	Page  string
}

// readNavigation returns the sections of the index, with the links of their lists.
func readNavigation(pages map[string][]byte) []section {
	var sections []section
	d := parsePage(pages[index])
	for node := d.root.FirstChild(); node != nil; node = node.NextSibling() {
		switch node := node.(type) {
		case *ast.Heading:
			if node.Level == 2 {
				sections = append(sections, section{Title: d.textOf(node)})
			}
		case *ast.List:
			if len(sections) == 0 {
				continue
			}
			last := &sections[len(sections)-1]
			for link := range nodesOf[*ast.Link](node) {
				file, _, _ := strings.Cut(string(link.Destination), "#")
				if target := path.Join(path.Dir(index), file); pages[target] != nil {
					last.Entries = append(last.Entries, entry{Title: capitalizeTitle(d.textOf(link)), Page: target})
				}
			}
		}
	}
	return sections
}

func capitalizeTitle(title string) string {
	first, size := utf8.DecodeRuneInString(title)
	return string(unicode.ToUpper(first)) + title[size:]
}
