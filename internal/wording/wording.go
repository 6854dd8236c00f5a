// SPDX-License-Identifier: Apache-2.0

// Package wording formats the parts that many messages have in common: lists with the first
// items and a count of the rest, numbers with a noun, shortened text, and foreign text. The
// package is pure.
package wording

import (
	"fmt"
	"slices"
	"strings"
)

// maxNamed is the maximum number of things named in a message.
const maxNamed = 3

// ListNames names the first three things and counts the rest: "a, b, c and 2 more".
func ListNames(things []string) string { return joinFirst(things, ", ", " ") }

// ListPoints joins the first three lines, each a sentence of its own, and counts the
// rest: "a; b; c; and 2 more".
func ListPoints(lines []string) string { return joinFirst(lines, "; ", "; ") }

// ListSome is ListNames for a known total, of which only the first things are given.
func ListSome(firsts []string, all int) string {
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

// CountOf returns a number with a noun: "1 object", "2 objects". The noun must have a
// regular plural.
func CountOf[N int | int32](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Shorten cuts a text to at most limit bytes, and marks the cut. The limit must be at
// least three bytes.
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

// AppendUnique appends an item, unless the list has the item already.
func AppendUnique(list []string, item string) []string {
	if slices.Contains(list, item) {
		return list
	}
	return append(list, item)
}
