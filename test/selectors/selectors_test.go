// SPDX-License-Identifier: Apache-2.0

// Package selectors compares the operator's parser of selectors with Calico's own parser.
package selectors

import (
	"flag"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/selector"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
)

var seed = flag.Uint64("seed", 1, "seed of the random selectors")

const (
	madeUp  = 50_000 // selectors of each kind
	mostSet = 6      // sets of labels for each selector
)

// The operator's parser and Calico's parser accept the same selectors, refuse the same
// selectors, and select the same labels.
func TestSelectorsAreReadAsCalicoReadsThem(t *testing.T) {
	t.Logf("seed %d", *seed)
	for name, write := range map[string]func(*writer) string{
		"selectors":                       (*writer).validSelector,
		"selectors, with something wrong": (*writer).spoiledSelector,
		"pieces of selectors":             (*writer).randomPieces,
	} {
		t.Run(name, func(t *testing.T) {
			g, w := NewWithT(t), &writer{rand.New(rand.NewPCG(*seed, 0))}
			questions := make([]calico.Selector, madeUp)
			for i := range questions {
				questions[i] = calico.Selector{Selector: []byte(write(w)), Labels: w.labelSets()}
			}
			answers, err := calico.SelectWithCalico(t.Context(), questions)
			g.Expect(err).NotTo(HaveOccurred())
			read, selected, tried := 0, 0, 0
			for i, q := range questions {
				s, err := selector.Parse(string(q.Selector))
				if answers[i].Error != "" {
					g.Expect(err).To(HaveOccurred(), "%q: Calico says %s", q.Selector, answers[i].Error)
					continue
				}
				read++
				g.Expect(err).NotTo(HaveOccurred(), "%q: Calico accepts this selector", q.Selector)
				for n, labels := range q.Labels {
					tried++
					g.Expect(s(labels)).To(Equal(answers[i].Selects[n]), "%q of %v", q.Selector, labels)
					if answers[i].Selects[n] {
						selected++
					}
				}
			}
			t.Logf("%d of %d are selectors, and select %d of %d sets of labels", read, madeUp, selected, tried)
			g.Expect(selected).To(BeNumerically(">", 200), "too few for a comparison")
			g.Expect(tried-selected).To(BeNumerically(">", 200), "too few for a comparison")
		})
	}
}

// writer makes up random selectors, and random labels with some matches.
type writer struct{ *rand.Rand }

func (w *writer) pickFrom(from ...string) string { return from[w.IntN(len(from))] }

func (w *writer) randomName() string {
	return w.pickFrom("a", "b", "c", "in", "not", "has", "all", "global", "contains", "projectcalico.org/x-y_z", "A.9/b")
}

func (w *writer) randomValue() string {
	return w.pickFrom("", "x", "y", "xy", "xyx", "é", `"`, " ", "a == 'x'", "in")
}

func (w *writer) randomSpace() string { return w.pickFrom("", "", " ", " ", "  ", "\t") }

func (w *writer) labelSets() []map[string]string {
	sets := []map[string]string{nil}
	for range mostSet - 1 {
		labels := map[string]string{}
		for range w.IntN(5) {
			labels[w.randomName()] = w.randomValue()
		}
		sets = append(sets, labels)
	}
	return sets
}

func (w *writer) validSelector() string {
	return w.randomSpace() + w.randomExpression(3) + w.randomSpace()
}

func (w *writer) randomExpression(depth int) string {
	parts := make([]string, 1+w.IntN(3)*w.IntN(2))
	for i := range parts {
		parts[i] = w.randomSpace() + w.randomOperand(depth) + w.randomSpace()
		if i > 0 {
			parts[i] = w.pickFrom("&&", "||") + parts[i]
		}
	}
	return strings.Join(parts, "")
}

func (w *writer) randomOperand(depth int) string {
	not := strings.Repeat("!"+w.randomSpace(), max(0, w.IntN(5)-2))
	if depth > 0 && w.IntN(3) == 0 {
		return not + "(" + w.randomExpression(depth-1) + ")"
	}
	switch w.IntN(6) {
	case 0:
		return not + "has(" + w.randomSpace() + w.randomName() + w.randomSpace() + ")"
	case 1:
		return not + w.pickFrom("all", "global") + "(" + w.randomSpace() + ")"
	case 2:
		return not + w.randomName() + " " + w.pickFrom("in", "not in", "notin", "not  in") + w.randomSpace() + w.valueList()
	case 3:
		return not + w.randomName() + " " + w.pickFrom("contains", "starts with", "startswith", "ends with", "endswith") + w.randomSpace() + w.quotedValue()
	}
	return not + w.randomName() + w.randomSpace() + w.pickFrom("==", "!=") + w.randomSpace() + w.quotedValue()
}

func (w *writer) valueList() string {
	values := make([]string, w.IntN(4))
	for i := range values {
		values[i] = w.randomSpace() + w.quotedValue() + w.randomSpace()
	}
	return "{" + strings.Join(values, ",") + w.pickFrom("", "", "", ",") + "}"
}

func (w *writer) quotedValue() string {
	value := w.randomValue()
	if strings.Contains(value, "'") || !strings.Contains(value, `"`) && w.IntN(2) == 0 {
		return `"` + value + `"`
	}
	return "'" + value + "'"
}

// spoiledSelector returns a selector after removing, inserting or changing a byte.
func (w *writer) spoiledSelector() string {
	text := []byte(w.validSelector())
	at := w.IntN(len(text))
	odd := []byte("ax(){}!&|='\", \t\n\r\v\x00\xff0-./_:;<>")
	put := odd[w.IntN(len(odd))]
	switch w.IntN(3) {
	case 0:
		text = slices.Delete(text, at, at+1)
	case 1:
		text = slices.Insert(text, at, put)
	default:
		text[at] = put
	}
	return string(text)
}

func (w *writer) randomPieces() string {
	var text strings.Builder
	for range w.IntN(8) {
		text.WriteString(w.pickFrom("a", "b", "'x'", `"y"`, "==", "!=", "in", "not", "not in", "{", "}", ",", "contains", "starts", "with", "ends",
			"starts with", "has(", "has(a)", "all()", "global()", "(", ")", "!", "&&", "||", " ", "\t", "\n", "'", "a=='x'", "é", "\xff", "\u00a0"))
	}
	return text.String()
}
