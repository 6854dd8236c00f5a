// SPDX-License-Identifier: Apache-2.0

package page

import (
	"testing"

	. "github.com/onsi/gomega"
)

func TestOutputIsComparedLoosely(t *testing.T) {
	for name, test := range map[string]struct{ expected, printed, missing string }{
		"the same":             {"a b\nc", "a b\nc\n", ""},
		"other columns, lines": {"NAME  AGE\np  …", "first\nNAME    AGE\nq  1s\np    3s\n", ""},
		"a word is missing":    {"a b", "a c", "a b"},
		"another order":        {"a\nb", "b\na", "b"},
		"a part of a line":     {"Local", "NotLocal", "Local"},
		"a line only once":     {"a\na", "a", "a"},
		"signs of a pattern":   {"a.b (c)", "axb (c)", "a.b (c)"},
	} {
		t.Run(name, func(t *testing.T) {
			NewWithT(t).Expect(MissingLine(test.expected, test.printed)).To(Equal(test.missing))
		})
	}
}
