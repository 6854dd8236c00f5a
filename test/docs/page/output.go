// SPDX-License-Identifier: Apache-2.0

package page

import (
	"regexp"
	"strings"
)

// wildcard stands for any text in the expected output, such as an age.
const wildcard = "…"

// MissingLine returns the first expected line that was not printed, empty if all lines were.
// The lines must be in the expected order; further lines may be between the lines, and the
// width of columns does not count.
func MissingLine(expected, printed string) string {
	lines := strings.Split(printed, "\n")
	for line := range strings.Lines(expected) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		pattern := patternOf(line)
		for len(lines) > 0 && !pattern.MatchString(squeezeSpace(lines[0])) {
			lines = lines[1:]
		}
		if len(lines) == 0 {
			return line
		}
		lines = lines[1:]
	}
	return ""
}

func patternOf(line string) *regexp.Regexp {
	parts := strings.Split(squeezeSpace(line), wildcard)
	for i, part := range parts {
		parts[i] = regexp.QuoteMeta(part)
	}
	return regexp.MustCompile("^" + strings.Join(parts, ".*") + "$")
}

func squeezeSpace(line string) string { return strings.Join(strings.Fields(line), " ") }
