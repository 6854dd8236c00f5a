// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"html/template"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/renderer/html"
	"github.com/yuin/goldmark/text"

	"github.com/cpnp-dev/cpnp-operator/test/docs/page"
)

// markdown reads GitHub's Markdown. HTML passes unchanged: the pages are trusted, and
// tables have line breaks.
var markdown = goldmark.New(goldmark.WithExtensions(extension.GFM), goldmark.WithRendererOptions(html.WithUnsafe()))

// heading is a heading of a page.
type heading struct {
	Level  int
	Title  string
	Anchor string
}

// document is a parsed page.
type document struct {
	root   ast.Node
	source []byte
}

func parsePage(source []byte) document {
	return document{root: markdown.Parser().Parse(text.NewReader(source)), source: source}
}

// convertLinks replaces the links of a page.
func (d document) convertLinks(convert func(link string) (string, error)) error {
	return ast.Walk(d.root, func(node ast.Node, entering bool) (ast.WalkStatus, error) {
		if link, ok := node.(*ast.Link); ok && entering {
			converted, err := convert(string(link.Destination))
			link.Destination = []byte(converted)
			return ast.WalkContinue, err
		}
		return ast.WalkContinue, nil
	})
}

// nameHeadings gives each heading the anchor that GitHub gives, and returns all headings.
func (d document) nameHeadings() []heading {
	var all []heading
	anchors := page.Anchors{}
	for node := range nodesOf[*ast.Heading](d.root) {
		anchor := anchors.NextAnchor(string(node.Lines().Value(d.source)))
		node.SetAttributeString("id", []byte(anchor))
		all = append(all, heading{Level: node.Level, Title: d.textOf(node), Anchor: anchor})
	}
	return all
}

func (d document) renderHTML() (template.HTML, error) {
	var out bytes.Buffer
	err := markdown.Renderer().Render(&out, d.source, d.root)
	return template.HTML(out.String()), err
}

// textOf returns the text of a node without marks such as emphasis.
func (d document) textOf(node ast.Node) string {
	var out strings.Builder
	for part := range nodesOf[*ast.Text](node) {
		out.Write(part.Segment.Value(d.source))
		if part.SoftLineBreak() {
			out.WriteByte(' ')
		}
	}
	return out.String()
}

// nodesOf yields the nodes of one type in a tree, in the order of the page.
func nodesOf[T ast.Node](root ast.Node) func(yield func(T) bool) {
	return func(yield func(T) bool) {
		_ = ast.Walk(root, func(node ast.Node, entering bool) (ast.WalkStatus, error) {
			if found, ok := node.(T); ok && entering && !yield(found) {
				return ast.WalkStop, nil
			}
			return ast.WalkContinue, nil
		})
	}
}
