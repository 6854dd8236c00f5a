// SPDX-License-Identifier: Apache-2.0

package wording

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Foreign text (names, values of annotations, errors of servers) may contain line breaks,
// escape sequences of terminals, marks reversing the order of shown text, and invisible
// characters. Every text in a report or log goes through OneLine, so a reader sees the real
// text, and cannot take foreign text for a statement of the operator.

// OneLine returns the text as one line of at most limit bytes, in which every character
// is visible: EscapeHidden and Shorten.
func OneLine(text string, limit int) string {
	if len(text) > limit {
		text = text[:limit+1] // The rest would be cut in any case, because escapes only lengthen the text.
	}
	return Shorten(EscapeHidden(text), limit)
}

// EscapeHidden returns the text with every invisible or misleading character in Go's
// notation: \n, \x1b, \u202e. Text without such characters
// stays unchanged, so a second call changes no text.
func EscapeHidden(text string) string {
	if isPlain(text) {
		return text
	}
	var out strings.Builder
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&out, `\x%02x`, text[0])
		case isVisible(r):
			out.WriteRune(r)
		default:
			out.WriteString(escapeRune(r))
		}
		text = text[size:]
	}
	return out.String()
}

// QuoteText returns the text of others as a part of a sentence: as OneLine in quotes. The
// text cannot end the quotes.
func QuoteText(text string, limit int) string {
	return `"` + strings.ReplaceAll(OneLine(strings.TrimSpace(text), limit), `"`, `'`) + `"`
}

// maxNamePart is the maximum length in bytes of a name given by others. Names of field
// managers are not longer.
const maxNamePart = 128

// QuoteName returns a name given by others as a part of a sentence. A name that is not a
// plain single word is quoted, so no name reads as a part of the sentence.
func QuoteName(name string) string {
	const usual = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/:"
	if name != "" && len(name) <= maxNamePart && strings.Trim(name, usual) == "" {
		return name
	}
	return QuoteText(name, maxNamePart)
}

// IsBlank tells whether a text has no visible character.
func IsBlank(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return isVisible(r) && !unicode.IsSpace(r) })
}

func isPlain(text string) bool {
	for i := 0; i < len(text); i++ {
		if text[i] < ' ' || text[i] > '~' {
			return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return !isVisible(r) })
		}
	}
	return true
}

// isVisible tells whether a character is shown unchanged. Letters, marks, digits,
// punctuation, symbols and the space are visible, unless Unicode calls them invisible.
func isVisible(r rune) bool {
	return unicode.IsPrint(r) && !unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// escapeRune returns a character in Go's notation. Characters printable by Go's rules are
// written by number.
func escapeRune(r rune) string {
	if !unicode.IsPrint(r) {
		return strings.Trim(strconv.QuoteRuneToASCII(r), "'")
	}
	if r > 0xFFFF {
		return fmt.Sprintf(`\U%08x`, r)
	}
	return fmt.Sprintf(`\u%04x`, r)
}
