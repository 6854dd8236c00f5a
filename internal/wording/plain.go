// SPDX-License-Identifier: Apache-2.0

package wording

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text of others (names, values of annotations, errors of servers) may hold line
// breaks, escape sequences of terminals, marks that reverse the order in which text
// is shown, and characters that are not shown at all. Whatever the operator reports
// or logs goes through Line, so that a reader sees what is there and nothing that
// only looks as if the operator had said it.

// Line returns the text as one line of at most limit bytes, in which every character
// shows: Plain and Shorten.
func Line(text string, limit int) string {
	if len(text) > limit {
		text = text[:limit+1] // the rest would be cut in any case; escapes only make it longer
	}
	return Shorten(Plain(text), limit)
}

// Plain returns the text with what does not show, or shows as something else,
// written as Go writes it: \n, \x1b, \u202e. Text that has nothing of that stays
// as it is, so that Plain of a plain text is the same.
func Plain(text string) string {
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

// Quoted returns what others say as a part of a sentence: as a Line, in quotes, which
// nothing within it can end.
func Quoted(text string, limit int) string {
	return `"` + strings.ReplaceAll(Line(strings.TrimSpace(text), limit), `"`, `'`) + `"`
}

// maxNamePart is how much of a name that others give is told, in bytes; a field
// manager has no longer one.
const maxNamePart = 128

// Named returns a name that others give as a part of a sentence. It is quoted unless
// it is a single word: others cannot be taken for a part of the sentence then.
func Named(name string) string {
	const usual = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/:"
	if name != "" && len(name) <= maxNamePart && strings.Trim(name, usual) == "" {
		return name
	}
	return Quoted(name, maxNamePart)
}

// Blank says whether a text has nothing that a reader would see.
func Blank(text string) bool {
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

// shows says whether a character is shown as itself. Letters, marks, digits,
// punctuation, symbols and the space are, unless Unicode calls them invisible.
func isVisible(r rune) bool {
	return unicode.IsPrint(r) && !unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// escaped returns a character as Go writes it. Those that Go takes for printable
// are written by their number.
func escapeRune(r rune) string {
	if !unicode.IsPrint(r) {
		return strings.Trim(strconv.QuoteRuneToASCII(r), "'")
	}
	if r > 0xFFFF {
		return fmt.Sprintf(`\U%08x`, r)
	}
	return fmt.Sprintf(`\u%04x`, r)
}
