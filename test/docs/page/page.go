// SPDX-License-Identifier: Apache-2.0

// Package page reads the documentation's pages: blocks of code with the comments that mark
// the blocks, links, anchors, and words written as code. The package knows only the
// Markdown that the documentation uses.
package page

import (
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// Marks of blocks, in HTML comments that readers do not see.
const (
	// MarkRun is before a block of commands to be run by a test, or before a table with
	// commands in the last column.
	MarkRun = "run"
	// MarkExpect is before a block with the output of the block of commands above.
	MarkExpect = "expect"
	// MarkPrepare is before the colon and the name of a state that the next commands need.
	MarkPrepare = "prepare"
)

// Block is a fenced block of code, or a marked table.
type Block struct {
	// Line is the number of the first line, counted from 1.
	Line int
	// Language is the word after the fence; "table" for a table.
	Language string
	// Marks are the comments directly before the block, such as "run".
	Marks []string
	// Text is the content without the fences.
	Text string
}

// HasMark tells whether a comment marks the block.
func (b Block) HasMark(mark string) bool {
	for _, m := range b.Marks {
		if m == mark {
			return true
		}
	}
	return false
}

// PreparedState returns the state that a comment asks for before the block, empty if none.
func (b Block) PreparedState() string {
	for _, m := range b.Marks {
		if name, found := strings.CutPrefix(m, MarkPrepare+":"); found {
			return strings.TrimSpace(name)
		}
	}
	return ""
}

// Commands returns the commands of a marked table: the code of the last column of each row.
func (b Block) Commands() []string {
	var commands []string
	for line := range strings.Lines(b.Text) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		if code := codeSpan.FindStringSubmatch(cells[len(cells)-1]); code != nil {
			commands = append(commands, code[1])
		}
	}
	return commands
}

var (
	comment  = regexp.MustCompile(`^<!-- ([a-z]+(?:: [a-z-]+)?) -->$`)
	codeSpan = regexp.MustCompile("`([^`]+)`")
	link     = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading  = regexp.MustCompile(`^#{1,6} +(.+?) *$`)
	linked   = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
)

// FindBlocks returns the blocks of a page, in their order. Tables are blocks only if a
// comment marks the table.
func FindBlocks(text string) []Block {
	var blocks []Block
	var marks []string
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		line := strings.TrimSpace(lines[i])
		mark := comment.FindStringSubmatch(line)
		switch {
		case mark != nil:
			marks = append(marks, mark[1])
			continue
		case line == "":
			continue
		case strings.HasPrefix(line, "```"):
			end := endOfBlock(lines, i+1, func(l string) bool { return strings.HasPrefix(strings.TrimSpace(l), "```") })
			blocks = append(blocks, newBlock(lines, i+1, end, strings.TrimPrefix(line, "```"), marks))
			i = end
		case marks != nil && strings.HasPrefix(line, "|"):
			end := endOfBlock(lines, i, func(l string) bool { return !strings.HasPrefix(strings.TrimSpace(l), "|") })
			blocks = append(blocks, newBlock(lines, i, end, "table", marks))
			i = end
		}
		marks = nil
	}
	return blocks
}

func newBlock(lines []string, start, end int, language string, marks []string) Block {
	return Block{Line: start + 1, Language: language, Marks: marks, Text: strings.Join(lines[start:end], "\n")}
}

// endOfBlock returns the number of the first line from start on that ends a block.
func endOfBlock(lines []string, start int, ends func(string) bool) int {
	for i := start; i < len(lines); i++ {
		if ends(lines[i]) {
			return i
		}
	}
	return len(lines)
}

// WithoutBlocks returns the text of a page without its blocks of code.
func WithoutBlocks(text string) string {
	var out strings.Builder
	inside := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			inside = !inside
			continue
		}
		if !inside {
			out.WriteString(line)
		}
	}
	return out.String()
}

// FindLinks returns the targets of the links of a page.
func FindLinks(text string) []string {
	return submatches(link, codeSpan.ReplaceAllString(WithoutBlocks(text), ""))
}

// FindCode returns the words written as code within the text of a page.
func FindCode(text string) []string { return submatches(codeSpan, WithoutBlocks(text)) }

func submatches(pattern *regexp.Regexp, text string) []string {
	var found []string
	for _, match := range pattern.FindAllStringSubmatch(text, -1) {
		found = append(found, match[1])
	}
	return found
}

// FindAnchors returns the anchors of a page's headings, as GitHub makes them.
func FindAnchors(text string) map[string]bool {
	found, anchors := map[string]bool{}, Anchors{}
	for line := range strings.Lines(WithoutBlocks(text)) {
		if title := heading.FindStringSubmatch(strings.TrimRight(line, "\n")); title != nil {
			found[anchors.NextAnchor(title[1])] = true
		}
	}
	return found
}

// Anchors counts the headings of one page that have the same anchor.
type Anchors map[string]int

// NextAnchor returns the anchor of the next heading of the page, as GitHub makes it. The
// title is Markdown.
func (a Anchors) NextAnchor(title string) string {
	anchor := anchorOf(title)
	n := a[anchor]
	a[anchor]++
	if n > 0 {
		return anchor + "-" + strconv.Itoa(n)
	}
	return anchor
}

func anchorOf(title string) string {
	title = strings.ToLower(linked.ReplaceAllString(title, "$1"))
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
			return r
		}
		return -1
	}, title)
}
