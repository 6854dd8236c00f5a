// SPDX-License-Identifier: Apache-2.0

// Package wording puts into words what many messages tell alike: that of many
// things some are named and the rest is counted, that there is one or are
// several, that a text is cut. It is pure.
package wording

import (
	"fmt"
	"strings"
)

// maxNamed is how many of many things a message names.
const maxNamed = 3

// Names names the first three things and counts the rest: "a, b, c and 2 more".
func Names(things []string) string { return joinFirst(things, ", ", " ") }

// Points tells the first three of what is a sentence of its own each, and counts
// the rest: "a; b; c; and 2 more".
func Points(lines []string) string { return joinFirst(lines, "; ", "; ") }

// Some is Names of as many things, of which these are the first.
func Some(firsts []string, all int) string {
	named := firsts[:min(len(firsts), maxNamed)]
	if more := all - len(named); more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(named, ", "), more)
	}
	return strings.Join(named, ", ")
}

func joinFirst(things []string, separator, last string) string {
	if more := len(things) - maxNamed; more > 0 {
		return fmt.Sprintf("%s%sand %d more", strings.Join(things[:maxNamed], separator), last, more)
	}
	return strings.Join(things, separator)
}

// Count says how many things there are: "1 object", "2 objects". The plural of
// the noun is regular.
func Count[N int | int32](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Shorten cuts a text to at most limit bytes, which are three at least, and marks
// that it did.
func Shorten(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	const mark = "…"
	cut := limit - len(mark)
	for cut > 0 && text[cut]&0xC0 == 0x80 { // not inside a character
		cut--
	}
	return text[:cut] + mark
}
