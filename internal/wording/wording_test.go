// SPDX-License-Identifier: Apache-2.0

package wording_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

func TestThreeThingsAreNamedAndTheRestIsCounted(t *testing.T) {
	tests := []struct{ things, names, points string }{
		{"", "", ""},
		{"a", "a", "a"},
		{"a b c", "a, b, c", "a; b; c"},
		{"a b c d", "a, b, c and 1 more", "a; b; c; and 1 more"},
		{"a b c d e", "a, b, c and 2 more", "a; b; c; and 2 more"},
	}
	for _, test := range tests {
		t.Run(test.things, func(t *testing.T) {
			g := NewWithT(t)
			g.Expect(wording.ListNames(strings.Fields(test.things))).To(Equal(test.names))
			g.Expect(wording.ListPoints(strings.Fields(test.things))).To(Equal(test.points))
			things := strings.Fields(test.things)
			g.Expect(wording.ListSome(things[:min(len(things), 3)], len(things))).To(Equal(test.names), "the first things are enough")
		})
	}
}

func TestSingularAndPlural(t *testing.T) {
	g := NewWithT(t)
	g.Expect(wording.CountOf(0, "object")).To(Equal("0 objects"))
	g.Expect(wording.CountOf(1, "object")).To(Equal("1 object"))
	g.Expect(wording.CountOf(int32(2), "object")).To(Equal("2 objects"))
}

func TestShortenKeepsTheLimitAndWholeCharacters(t *testing.T) {
	g := NewWithT(t)
	g.Expect(wording.Shorten("short", 5)).To(Equal("short"))
	g.Expect(wording.Shorten("longer", 5)).To(Equal("lo…"))
	for _, text := range []string{strings.Repeat("a", 50), strings.Repeat("é", 50), strings.Repeat("日本", 50), strings.Repeat("🔥", 50)} {
		for limit := 3; limit <= len(text)+1; limit++ {
			short := wording.Shorten(text, limit)
			g.Expect(len(short)).To(BeNumerically("<=", limit))
			g.Expect(utf8.ValidString(short)).To(BeTrue(), "%q at %d", text, limit)
			g.Expect(strings.HasPrefix(text, strings.TrimSuffix(short, "…"))).To(BeTrue())
		}
	}
}
