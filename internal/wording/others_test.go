// SPDX-License-Identifier: Apache-2.0

package wording_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

func TestInvisibleCharactersAreWrittenOut(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"nothing":                          {"", ""},
		"a sentence":                       {`Node/cp-1 "a" is 'b'; no, c: \n`, `Node/cp-1 "a" is 'b'; no, c: \n`},
		"other scripts":                    {"Übung 日本 🔥 שלום", "Übung 日本 🔥 שלום"},
		"line breaks":                      {"a\nb\r\nc\td", `a\nb\r\nc\td`},
		"an escape sequence":               {"\x1b[31mred\x1b[0m\x07", `\x1b[31mred\x1b[0m\a`},
		"controls above ASCII":             {"a\u0085b\u009bc", `a\u0085b\u009bc`},
		"delete":                           {"a\x7f", `a\x7f`},
		"right to left override":           {"user\u202eresu\u2066x\u2069", `user\u202eresu\u2066x\u2069`},
		"zero width":                       {"ad\u200bmin\u200d\ufeff", `ad\u200bmin\u200d\ufeff`},
		"separators of lines":              {"a\u2028b\u2029c", `a\u2028b\u2029c`},
		"invisible kinds of spaces":        {"a\u00a0b\u3000c", `a\u00a0b\u3000c`},
		"a soft hyphen":                    {"a\u00adb", `a\u00adb`},
		"invisible letters":                {"a\u3164b\u115fc", `a\u3164b\u115fc`},
		"variation selectors":              {"a\ufe0fb\U000e0101c", `a\ufe0fb\U000e0101c`},
		"tags":                             {"a\U000e0041b", `a\U000e0041b`},
		"private use":                      {"a\ue000b", `a\ue000b`},
		"invalid UTF-8":                    {"a\xff\xc0b", `a\xff\xc0b`},
		"the replacement character itself": {"a\ufffdb", "a\ufffdb"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { NewWithT(t).Expect(wording.EscapeHidden(test.text)).To(Equal(test.want)) })
	}
}

func TestForeignTextIsQuoted(t *testing.T) {
	g := NewWithT(t)
	for text, want := range map[string]string{
		"paged":                      `"paged"`,
		"x. All is well":             `"x. All is well"`,
		`x"; all is well`:            `"x'; all is well"`,
		"a\nb":                       `"a\nb"`,
		"":                           `""`,
		strings.Repeat("a", 21):      `"` + strings.Repeat("a", 17) + `…"`,
		strings.Repeat("\u202e", 99): `"\u202e\u202e\u202…"`,
	} {
		g.Expect(wording.QuoteText(text, 20)).To(Equal(want))
	}
}

func TestNamesAreQuotedUnlessTheyAreOneWord(t *testing.T) {
	g := NewWithT(t)
	for name, want := range map[string]string{
		"kubectl-edit":           "kubectl-edit",
		"cpnp.dev/probe.cp-1":    "cpnp.dev/probe.cp-1",
		"x. All is well":         `"x. All is well"`,
		"a\nb":                   `"a\nb"`,
		"":                       `""`,
		strings.Repeat("a", 129): `"` + strings.Repeat("a", 125) + `…"`,
	} {
		g.Expect(wording.QuoteName(name)).To(Equal(want))
	}
}

func TestTextWithoutVisibleCharactersIsBlank(t *testing.T) {
	g := NewWithT(t)
	for _, text := range []string{"", " ", "\n\t", "\u200b", "\u3164 \ufeff", "\u00a0"} {
		g.Expect(wording.IsBlank(text)).To(BeTrue(), "%q", text)
	}
	for _, text := range []string{"a", " a ", "\u200ba", "日"} {
		g.Expect(wording.IsBlank(text)).To(BeFalse(), "%q", text)
	}
}

func FuzzLine(f *testing.F) {
	for _, seed := range []string{"", "a b", "a\nb", "\u202e\u2066", "\xff\xfe", strings.Repeat("\x00", 300), strings.Repeat("日", 99)} {
		f.Add(seed, 40)
	}
	f.Fuzz(func(t *testing.T, text string, limit int) {
		limit = 3 + limit&0x3FF
		line := wording.OneLine(text, limit)
		switch {
		case len(line) > limit:
			t.Errorf("%d bytes instead of %d at most: %q", len(line), limit, line)
		case !utf8.ValidString(line):
			t.Errorf("no UTF-8: %q", line)
		case strings.ContainsFunc(line, func(r rune) bool { return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) }):
			t.Errorf("invisible characters: %q", line)
		case wording.EscapeHidden(line) != line:
			t.Errorf("a line is not plain: %q", line)
		}
	})
}
