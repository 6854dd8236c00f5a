// SPDX-License-Identifier: Apache-2.0

// Package selector evaluates Calico's selectors, such as "has(role) && zone in {'a',
// 'b'}". The language is the language of Calico's own parser
// (libcalico-go/lib/selector), quirks included. Calico's parser is not used for two
// reasons: its module needs replace directives, which every importer would have to
// repeat, and a match takes nine times as long. test/selectors compares the two
// parsers.
package selector

import (
	"fmt"
	"slices"
	"strings"
)

// Selector says whether an object with the labels is selected.
type Selector func(labels map[string]string) bool

// SelectAll selects everything, as an empty selector does.
func SelectAll(map[string]string) bool { return true }

const (
	// maxLabel is the maximum length of a label's name, as in Calico.
	maxLabel = 512
	// maxDepth is the maximum depth of nested parentheses. Calico has no limit.
	maxDepth = 100
)

// Parse reads a selector.
func Parse(text string) (Selector, error) {
	p := &parser{rest: text}
	p.skipSpace()
	if p.rest == "" {
		return SelectAll, nil
	}
	s, err := p.parseOr()
	if err == nil && p.rest != "" {
		err = p.expectedError("the end")
	}
	if err != nil {
		return nil, fmt.Errorf("selector %q: %w", text, err)
	}
	return s, nil
}

// parser has the text that is not read yet. After each step, the rest does not begin
// with a space.
type parser struct {
	rest  string
	depth int
}

// parseOr reads operands of "||", the operator with the lowest precedence.
func (p *parser) parseOr() (Selector, error) {
	return p.parseList("||", p.parseAnd, func(all []Selector) Selector {
		return func(labels map[string]string) bool {
			return slices.ContainsFunc(all, func(s Selector) bool { return s(labels) })
		}
	})
}

func (p *parser) parseAnd() (Selector, error) {
	return p.parseList("&&", p.parseOperand, func(all []Selector) Selector {
		return func(labels map[string]string) bool {
			return !slices.ContainsFunc(all, func(s Selector) bool { return !s(labels) })
		}
	})
}

func (p *parser) parseList(operator string, next func() (Selector, error), join func([]Selector) Selector) (Selector, error) {
	var all []Selector
	for {
		s, err := next()
		if err != nil {
			return nil, err
		}
		all = append(all, s)
		if !p.acceptText(operator) {
			return join(all), nil
		}
	}
}

func (p *parser) parseOperand() (Selector, error) {
	negated := false
	for p.acceptText("!") {
		negated = !negated
	}
	s, err := p.parseTerm()
	if err != nil || !negated {
		return s, err
	}
	return func(labels map[string]string) bool { return !s(labels) }, nil
}

func (p *parser) parseTerm() (Selector, error) {
	switch {
	case p.acceptText("("):
		return p.parseGroup()
	case p.acceptText("has("):
		label, err := p.parseLabel()
		if err != nil {
			return nil, err
		}
		has := func(labels map[string]string) bool { _, there := labels[label]; return there }
		return has, p.parseClosing()
	case p.acceptText("all("), p.acceptText("global("):
		return SelectAll, p.parseClosing()
	}
	label, err := p.parseLabel()
	if err != nil {
		return nil, err
	}
	return p.parseComparison(label)
}

func (p *parser) parseGroup() (Selector, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, fmt.Errorf("more than %d parentheses within each other", maxDepth)
	}
	s, err := p.parseOr()
	if err != nil {
		return nil, err
	}
	p.depth--
	return s, p.parseClosing()
}

// parseComparison reads an operator, and the operand to which a label is compared.
func (p *parser) parseComparison(label string) (Selector, error) {
	switch {
	case p.acceptText("=="):
		return p.parseLiteral(label, false, func(value, literal string) bool { return value == literal })
	case p.acceptText("!="):
		return p.parseLiteral(label, true, func(value, literal string) bool { return value != literal })
	case p.acceptWords("contains"):
		return p.parseLiteral(label, false, strings.Contains)
	case p.acceptWords("starts", "with"):
		return p.parseLiteral(label, false, strings.HasPrefix)
	case p.acceptWords("ends", "with"):
		return p.parseLiteral(label, false, strings.HasSuffix)
	case p.acceptWords("not", "in"):
		return p.parseSet(label, false)
	case p.acceptWords("in"):
		return p.parseSet(label, true)
	}
	return nil, p.expectedError("an operator after " + label)
}

// parseLiteral reads the string to which a label's value is compared. Without the
// label, the result is absent.
func (p *parser) parseLiteral(label string, absent bool, compare func(value, parseLiteral string) bool) (Selector, error) {
	literal, err := p.parseString()
	if err != nil {
		return nil, err
	}
	return func(labels map[string]string) bool {
		value, there := labels[label]
		if !there {
			return absent
		}
		return compare(value, literal)
	}, nil
}

// parseSet reads a set of strings. The selector is true if the label's value is in the
// set, or not in the set if in is false.
func (p *parser) parseSet(label string, in bool) (Selector, error) {
	if !p.acceptText("{") {
		return nil, p.expectedError("{")
	}
	var literals []string
	for strings.HasPrefix(p.rest, "'") || strings.HasPrefix(p.rest, `"`) {
		literal, err := p.parseString()
		if err != nil {
			return nil, err
		}
		literals = append(literals, literal)
		if !p.acceptText(",") {
			break
		}
	}
	if !p.acceptText("}") {
		return nil, p.expectedError("}")
	}
	return func(labels map[string]string) bool {
		value, there := labels[label]
		return (there && slices.Contains(literals, value)) == in
	}, nil
}

// parseString reads a string in quotes. There are no escapes: a string with one kind of
// quotes is written in the other kind.
func (p *parser) parseString() (string, error) {
	for _, quote := range []string{`"`, "'"} {
		if rest, found := strings.CutPrefix(p.rest, quote); found {
			literal, after, ended := strings.Cut(rest, quote)
			if !ended {
				return "", fmt.Errorf("the string %s%s does not end", quote, rest)
			}
			p.rest = after
			p.skipSpace()
			return literal, nil
		}
	}
	return "", p.expectedError("a string")
}

func (p *parser) parseLabel() (string, error) {
	end := 0
	for end < len(p.rest) && isLabelCharacter(p.rest[end]) {
		end++
	}
	if end == 0 {
		return "", p.expectedError("a label")
	}
	if end > maxLabel {
		return "", fmt.Errorf("a label of more than %d characters", maxLabel)
	}
	label := p.rest[:end]
	p.rest = p.rest[end:]
	p.skipSpace()
	return label, nil
}

func isLabelCharacter(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("_./-", c) >= 0
}

// acceptText skips the text if the text is next, and says so.
func (p *parser) acceptText(text string) bool {
	rest, found := strings.CutPrefix(p.rest, text)
	if found {
		p.rest = rest
		p.skipSpace()
	}
	return found
}

// acceptWords skips an operator that is made of words. Spaces between the words are
// optional, but the last word must not be followed by a character of a label.
func (p *parser) acceptWords(acceptWords ...string) bool {
	before, rest := p.rest, ""
	for _, word := range acceptWords {
		var found bool
		if rest, found = strings.CutPrefix(p.rest, word); !found {
			p.rest = before
			return false
		}
		p.rest = rest
		p.skipSpace()
	}
	if rest != "" && isLabelCharacter(rest[0]) {
		p.rest = before
		return false
	}
	return true
}

func (p *parser) parseClosing() error {
	if !p.acceptText(")") {
		return p.expectedError(")")
	}
	return nil
}

func (p *parser) skipSpace() { p.rest = strings.TrimLeft(p.rest, " \t") }

func (p *parser) expectedError(what string) error {
	if p.rest == "" {
		return fmt.Errorf("expected %s instead of its end", what)
	}
	return fmt.Errorf("expected %s before %q", what, p.rest)
}
