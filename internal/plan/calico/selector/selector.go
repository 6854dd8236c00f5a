// SPDX-License-Identifier: Apache-2.0

// Package selector judges Calico's selectors, such as
// "has(role) && zone in {'a', 'b'}". The language is that of Calico's own parser
// (libcalico-go/lib/selector), quirks included. That one is in a module that needs
// replace directives, which every importer would have to repeat, and takes nine times
// as long for a match. test/selectors compares the two.
package selector

import (
	"fmt"
	"slices"
	"strings"
)

// Selector says whether it selects what has the labels.
type Selector func(labels map[string]string) bool

// All selects everything. So does an empty selector.
func All(map[string]string) bool { return true }

const (
	// maxLabel is how long a name of a label may be, in Calico too.
	maxLabel = 512
	// maxDepth is how deep parentheses may be nested. Calico knows no limit.
	maxDepth = 100
)

// Parse reads a selector.
func Parse(text string) (Selector, error) {
	p := &parser{rest: text}
	p.space()
	if p.rest == "" {
		return All, nil
	}
	s, err := p.or()
	if err == nil && p.rest != "" {
		err = p.expected("the end")
	}
	if err != nil {
		return nil, fmt.Errorf("selector %q: %w", text, err)
	}
	return s, nil
}

// parser has what is left to read. After each step, that does not begin with
// space.
type parser struct {
	rest  string
	depth int
}

// or reads operands of "||", which binds least.
func (p *parser) or() (Selector, error) {
	return p.list("||", p.and, func(all []Selector) Selector {
		return func(labels map[string]string) bool {
			return slices.ContainsFunc(all, func(s Selector) bool { return s(labels) })
		}
	})
}

func (p *parser) and() (Selector, error) {
	return p.list("&&", p.operand, func(all []Selector) Selector {
		return func(labels map[string]string) bool {
			return !slices.ContainsFunc(all, func(s Selector) bool { return !s(labels) })
		}
	})
}

func (p *parser) list(operator string, next func() (Selector, error), join func([]Selector) Selector) (Selector, error) {
	var all []Selector
	for {
		s, err := next()
		if err != nil {
			return nil, err
		}
		all = append(all, s)
		if !p.take(operator) {
			return join(all), nil
		}
	}
}

func (p *parser) operand() (Selector, error) {
	negated := false
	for p.take("!") {
		negated = !negated
	}
	s, err := p.term()
	if err != nil || !negated {
		return s, err
	}
	return func(labels map[string]string) bool { return !s(labels) }, nil
}

func (p *parser) term() (Selector, error) {
	switch {
	case p.take("("):
		return p.group()
	case p.take("has("):
		label, err := p.label()
		if err != nil {
			return nil, err
		}
		has := func(labels map[string]string) bool { _, there := labels[label]; return there }
		return has, p.close()
	case p.take("all("), p.take("global("):
		return All, p.close()
	}
	label, err := p.label()
	if err != nil {
		return nil, err
	}
	return p.comparison(label)
}

func (p *parser) group() (Selector, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, fmt.Errorf("more than %d parentheses within each other", maxDepth)
	}
	s, err := p.or()
	if err != nil {
		return nil, err
	}
	p.depth--
	return s, p.close()
}

// comparison reads an operator and what a label is compared to.
func (p *parser) comparison(label string) (Selector, error) {
	switch {
	case p.take("=="):
		return p.literal(label, false, func(value, literal string) bool { return value == literal })
	case p.take("!="):
		return p.literal(label, true, func(value, literal string) bool { return value != literal })
	case p.words("contains"):
		return p.literal(label, false, strings.Contains)
	case p.words("starts", "with"):
		return p.literal(label, false, strings.HasPrefix)
	case p.words("ends", "with"):
		return p.literal(label, false, strings.HasSuffix)
	case p.words("not", "in"):
		return p.set(label, false)
	case p.words("in"):
		return p.set(label, true)
	}
	return nil, p.expected("an operator after " + label)
}

// literal reads the string that a label's value is compared to. Without the
// label, the result is absent.
func (p *parser) literal(label string, absent bool, compare func(value, literal string) bool) (Selector, error) {
	literal, err := p.quoted()
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

// set reads the strings of which one, or none, is to be the label's value.
func (p *parser) set(label string, in bool) (Selector, error) {
	if !p.take("{") {
		return nil, p.expected("{")
	}
	var literals []string
	for strings.HasPrefix(p.rest, "'") || strings.HasPrefix(p.rest, `"`) {
		literal, err := p.quoted()
		if err != nil {
			return nil, err
		}
		literals = append(literals, literal)
		if !p.take(",") {
			break
		}
	}
	if !p.take("}") {
		return nil, p.expected("}")
	}
	return func(labels map[string]string) bool {
		value, there := labels[label]
		return (there && slices.Contains(literals, value)) == in
	}, nil
}

// quoted reads a string. There are no escapes: the other quotes are for that.
func (p *parser) quoted() (string, error) {
	for _, quote := range []string{`"`, "'"} {
		if rest, found := strings.CutPrefix(p.rest, quote); found {
			literal, after, ended := strings.Cut(rest, quote)
			if !ended {
				return "", fmt.Errorf("the string %s%s does not end", quote, rest)
			}
			p.rest = after
			p.space()
			return literal, nil
		}
	}
	return "", p.expected("a string")
}

func (p *parser) label() (string, error) {
	end := 0
	for end < len(p.rest) && ofLabel(p.rest[end]) {
		end++
	}
	if end == 0 {
		return "", p.expected("a label")
	}
	if end > maxLabel {
		return "", fmt.Errorf("a label of more than %d characters", maxLabel)
	}
	label := p.rest[:end]
	p.rest = p.rest[end:]
	p.space()
	return label, nil
}

func ofLabel(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("_./-", c) >= 0
}

// take takes the text if it is next.
func (p *parser) take(text string) bool {
	rest, found := strings.CutPrefix(p.rest, text)
	if found {
		p.rest = rest
		p.space()
	}
	return found
}

// words takes an operator that is made of words. There need be no space between
// them, but the last one must end where no label goes on.
func (p *parser) words(words ...string) bool {
	before, rest := p.rest, ""
	for _, word := range words {
		var found bool
		if rest, found = strings.CutPrefix(p.rest, word); !found {
			p.rest = before
			return false
		}
		p.rest = rest
		p.space()
	}
	if rest != "" && ofLabel(rest[0]) {
		p.rest = before
		return false
	}
	return true
}

func (p *parser) close() error {
	if !p.take(")") {
		return p.expected(")")
	}
	return nil
}

func (p *parser) space() { p.rest = strings.TrimLeft(p.rest, " \t") }

func (p *parser) expected(what string) error {
	if p.rest == "" {
		return fmt.Errorf("expected %s instead of its end", what)
	}
	return fmt.Errorf("expected %s before %q", what, p.rest)
}
