// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"os"
	"path/filepath"
)

var (
	//go:embed page.html.tmpl
	layoutText string
	//go:embed style.css
	style []byte

	layout = template.Must(template.New("page").Parse(layoutText))
)

// writeSite writes the pages of a repository into a folder, and removes no files.
func writeSite(repository, output string) error {
	pages, err := findPages(repository)
	if err != nil {
		return err
	}
	navigation := readNavigation(pages)
	if err := writeFile(output, "style.css", style); err != nil {
		return err
	}
	for name := range pages {
		text, err := renderPage(linker{repository: repository, pages: pages}, navigation, name)
		if err != nil {
			return err
		}
		if err := writeFile(output, fileOf(name), text); err != nil {
			return err
		}
	}
	return nil
}

func writeFile(folder, name string, text []byte) error {
	file := filepath.Join(folder, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o644)
}

// view is the input of the layout for a page.
type view struct {
	Title      string
	Page       string
	Body       template.HTML
	Headings   []heading
	Navigation []section
	Source     string
}

// LinkTo returns the link to another page.
func (v view) LinkTo(page string) string { return pathBetween(fileOf(v.Page), fileOf(page)) }

// StyleLink returns the link to the stylesheet.
func (v view) StyleLink() string { return pathBetween(fileOf(v.Page), "style.css") }

func renderPage(links linker, navigation []section, name string) ([]byte, error) {
	d := parsePage(links.pages[name])
	if err := d.convertLinks(func(link string) (string, error) { return links.convertLink(name, link) }); err != nil {
		return nil, err
	}
	v := view{Title: name, Page: name, Navigation: navigation, Source: filesURL + name}
	for _, h := range d.nameHeadings() {
		switch h.Level {
		case 1:
			v.Title = h.Title
		case 2:
			v.Headings = append(v.Headings, h)
		}
	}
	var err error
	if v.Body, err = d.renderHTML(); err != nil {
		return nil, fmt.Errorf("render %s: %w", name, err)
	}
	var out bytes.Buffer
	err = layout.Execute(&out, v)
	return out.Bytes(), err
}
