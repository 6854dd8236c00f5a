// SPDX-License-Identifier: Apache-2.0

package selector_test

import (
	"math/rand"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/selector"
)

type set = map[string]string

func TestSelectorsMatchAsInCalico(t *testing.T) {
	for text, c := range map[string]struct{ yes, no []set }{
		"":                  {yes: []set{nil, {"a": "b"}}},
		" \t ":              {yes: []set{nil, {"a": "b"}}},
		"all()":             {yes: []set{nil, {"a": "b"}}},
		" all( ) ":          {yes: []set{nil}},
		"!all()":            {no: []set{nil, {"a": "b"}}},
		"global()":          {yes: []set{nil, {"a": "b"}}},
		"has(a)":            {yes: []set{{"a": ""}, {"a": "b"}}, no: []set{nil, {"b": "a"}}},
		"has( a )":          {yes: []set{{"a": ""}}, no: []set{nil}},
		"!has(a)":           {yes: []set{nil, {"b": "a"}}, no: []set{{"a": ""}}},
		"! ! has(a)":        {yes: []set{{"a": ""}}, no: []set{nil}},
		"a == 'b'":          {yes: []set{{"a": "b"}}, no: []set{nil, {"a": ""}, {"a": "c"}, {"b": "b"}}},
		`a=="b'c"`:          {yes: []set{{"a": "b'c"}}, no: []set{{"a": "b"}}},
		"a == ''":           {yes: []set{{"a": ""}}, no: []set{nil, {"a": "b"}}},
		"a != 'b'":          {yes: []set{nil, {"a": "c"}}, no: []set{{"a": "b"}}},
		"a contains 'b'":    {yes: []set{{"a": "abc"}}, no: []set{nil, {"a": "ac"}}},
		"a starts with 'b'": {yes: []set{{"a": "bc"}}, no: []set{nil, {"a": "ab"}}},
		"a ends with 'b'":   {yes: []set{{"a": "ab"}}, no: []set{nil, {"a": "bc"}}},
		"a endswith'b'":     {yes: []set{{"a": "ab"}}, no: []set{nil}},
		"a in {'b', \"c\"}": {yes: []set{{"a": "b"}, {"a": "c"}}, no: []set{nil, {"a": "d"}, {"b": "b"}}},
		"a in{'b',}":        {yes: []set{{"a": "b"}}, no: []set{{"a": ""}}},
		"a in {}":           {no: []set{nil, {"a": ""}}},
		"a not in {'b'}":    {yes: []set{nil, {"a": "c"}}, no: []set{{"a": "b"}}},
		"a notin {'b'}":     {yes: []set{nil, {"a": "c"}}, no: []set{{"a": "b"}}},
		// Words of the language are labels where a label is expected.
		"in in {'in'}":                      {yes: []set{{"in": "in"}}, no: []set{nil}},
		"has == 'b' && all != 'c'":          {yes: []set{{"has": "b"}}, no: []set{nil, {"has": "b", "all": "c"}}},
		"projectcalico.org/a-b_c == 'd'":    {yes: []set{{"projectcalico.org/a-b_c": "d"}}, no: []set{nil}},
		"a == 'b' && c == 'd'":              {yes: []set{{"a": "b", "c": "d"}}, no: []set{{"a": "b"}, {"c": "d"}, nil}},
		"a == 'b' || c == 'd'":              {yes: []set{{"a": "b"}, {"c": "d"}}, no: []set{nil, {"a": "d"}}},
		"has(a) || has(b) && has(c)":        {yes: []set{{"a": ""}, {"b": "", "c": ""}}, no: []set{{"b": ""}, {"c": ""}}},
		"has(a) && has(b) || has(c)":        {yes: []set{{"c": ""}, {"a": "", "b": ""}}, no: []set{{"a": ""}}},
		"(has(a) || has(b)) && has(c)":      {yes: []set{{"b": "", "c": ""}}, no: []set{{"a": ""}}},
		"!has(a) && has(b)":                 {yes: []set{{"b": ""}}, no: []set{nil, {"a": "", "b": ""}}},
		"!(has(a) || has(b))":               {yes: []set{nil}, no: []set{{"a": ""}, {"b": ""}}},
		"( ( has(a) ) )":                    {yes: []set{{"a": ""}}, no: []set{nil}},
		"!a == 'b'":                         {yes: []set{nil, {"a": "c"}}, no: []set{{"a": "b"}}},
		strings.Repeat("!", 1001) + "all()": {no: []set{nil}},
	} {
		t.Run(text, func(t *testing.T) {
			g := NewWithT(t)
			s, err := selector.Parse(text)
			g.Expect(err).NotTo(HaveOccurred())
			for _, labels := range c.yes {
				g.Expect(s(labels)).To(BeTrue(), "%v", labels)
			}
			for _, labels := range c.no {
				g.Expect(s(labels)).To(BeFalse(), "%v", labels)
			}
		})
	}
}

func TestInvalidSelectorsAreRefused(t *testing.T) {
	for text, says := range map[string]string{
		"a":                                     "expected an operator after a instead of its end",
		"a b":                                   `expected an operator after a before "b"`,
		"a == b":                                `expected a string before "b"`,
		"a ==":                                  "expected a string instead of its end",
		"a = 'b'":                               "expected an operator",
		"'a' == 'b'":                            "expected a label",
		"a == 'b":                               "the string 'b does not end",
		"a == 'b' c":                            `expected the end before "c"`,
		"a == 'b')":                             "expected the end",
		"(a == 'b'":                             "expected ) instead of its end",
		"a == 'b' &&":                           "expected a label",
		"a == 'b' & c == 'd'":                   "expected the end",
		"|| has(a)":                             "expected a label",
		"has(a":                                 "expected )",
		"has()":                                 "expected a label",
		"has (a)":                               "expected an operator after has",
		"all(a)":                                "expected )",
		"a in 'b'":                              "expected {",
		"a in {b}":                              "expected }",
		"a in {'b' 'c'}":                        "expected }",
		"a in {'b":                              "does not end",
		"a inside {'b'}":                        "expected an operator after a",
		"a not 'b'":                             "expected an operator after a",
		"!":                                     "expected a label",
		"has(a)\n&& has(b)":                     "expected the end",
		"a > 'b'":                               "expected an operator",
		"ä == 'b'":                              "expected a label",
		"\x00":                                  "expected a label",
		strings.Repeat("(", 1e6):                "parentheses within each other",
		"has(" + strings.Repeat("a", 513) + ")": "a label of more than 512 characters",
	} {
		_, err := selector.Parse(text)
		NewWithT(t).Expect(err).To(MatchError(ContainSubstring(says)), "%.40q", text)
	}
}

// Parse reads foreign text. The pieces are those of the language, so that many of the made up selectors can be read.
func TestNoTextMakesTheParserPanic(t *testing.T) {
	pieces := []string{
		"a", "b", "'x'", `"y"`, "==", "!=", "in", "not", "in", "{", "}", ",", "contains", "starts", "with", "ends", "has(", "all(", "global(",
		"(", ")", "!", "&&", "||", " ", "\t", "'", `"`, "&", "=", "é", "\xff", "a == 'x'", "has(b)", "a in {'x','y'}",
	}
	random := rand.New(rand.NewSource(1))
	read := 0
	for range 100_000 {
		var text strings.Builder
		for range 1 + random.Intn(9) {
			text.WriteString(pieces[random.Intn(len(pieces))])
		}
		if s, err := selector.Parse(text.String()); err == nil {
			read++
			s(nil)
			s(set{"a": "x", "b": "y"})
		}
	}
	NewWithT(t).Expect(read).To(BeNumerically(">", 1000))
}
