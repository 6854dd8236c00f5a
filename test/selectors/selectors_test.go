// SPDX-License-Identifier: Apache-2.0

// Package selectors compares how selectors are read with Calico's own parser.
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
	madeUp  = 50_000 // selectors of each sort
	mostSet = 6      // labels that each is tried on
)

// Whatever the words are, a selector selects what it selects for Calico, and is
// refused where Calico refuses it.
func TestSelectorsAreReadAsCalicoReadsThem(t *testing.T) {
	t.Logf("seed %d", *seed)
	for name, write := range map[string]func(*writer) string{
		"selectors":                       (*writer).selector,
		"selectors, with something wrong": (*writer).spoiled,
		"pieces of selectors":             (*writer).pieces,
	} {
		t.Run(name, func(t *testing.T) {
			g, w := NewWithT(t), &writer{rand.New(rand.NewPCG(*seed, 0))}
			questions := make([]calico.Selector, madeUp)
			for i := range questions {
				questions[i] = calico.Selector{Selector: []byte(write(w)), Labels: w.labels()}
			}
			answers, err := calico.Select(t.Context(), questions)
			g.Expect(err).NotTo(HaveOccurred())
			read, selected, tried := 0, 0, 0
			for i, q := range questions {
				s, err := selector.Parse(string(q.Selector))
				if answers[i].Error != "" {
					g.Expect(err).To(HaveOccurred(), "%q: Calico says %s", q.Selector, answers[i].Error)
					continue
				}
				read++
				g.Expect(err).NotTo(HaveOccurred(), "%q: Calico takes it", q.Selector)
				for n, labels := range q.Labels {
					tried++
					g.Expect(s(labels)).To(Equal(answers[i].Selects[n]), "%q of %v", q.Selector, labels)
					if answers[i].Selects[n] {
						selected++
					}
				}
			}
			t.Logf("%d of %d are selectors, and select %d of %d sets of labels", read, madeUp, selected, tried)
			g.Expect(selected).To(BeNumerically(">", 200), "too few to tell")
			g.Expect(tried-selected).To(BeNumerically(">", 200), "too few to tell")
		})
	}
}

// writer makes up selectors, and labels that they may select.
type writer struct{ *rand.Rand }

func (w *writer) pick(from ...string) string { return from[w.IntN(len(from))] }

func (w *writer) name() string {
	return w.pick("a", "b", "c", "in", "not", "has", "all", "global", "contains", "projectcalico.org/x-y_z", "A.9/b")
}

func (w *writer) value() string {
	return w.pick("", "x", "y", "xy", "xyx", "é", `"`, " ", "a == 'x'", "in")
}

func (w *writer) space() string { return w.pick("", "", " ", " ", "  ", "\t") }

func (w *writer) labels() []map[string]string {
	sets := []map[string]string{nil}
	for range mostSet - 1 {
		labels := map[string]string{}
		for range w.IntN(5) {
			labels[w.name()] = w.value()
		}
		sets = append(sets, labels)
	}
	return sets
}

func (w *writer) selector() string { return w.space() + w.expression(3) + w.space() }

func (w *writer) expression(depth int) string {
	parts := make([]string, 1+w.IntN(3)*w.IntN(2))
	for i := range parts {
		parts[i] = w.space() + w.operand(depth) + w.space()
		if i > 0 {
			parts[i] = w.pick("&&", "||") + parts[i]
		}
	}
	return strings.Join(parts, "")
}

func (w *writer) operand(depth int) string {
	not := strings.Repeat("!"+w.space(), max(0, w.IntN(5)-2))
	if depth > 0 && w.IntN(3) == 0 {
		return not + "(" + w.expression(depth-1) + ")"
	}
	switch w.IntN(6) {
	case 0:
		return not + "has(" + w.space() + w.name() + w.space() + ")"
	case 1:
		return not + w.pick("all", "global") + "(" + w.space() + ")"
	case 2:
		return not + w.name() + " " + w.pick("in", "not in", "notin", "not  in") + w.space() + w.values()
	case 3:
		return not + w.name() + " " + w.pick("contains", "starts with", "startswith", "ends with", "endswith") + w.space() + w.quoted()
	}
	return not + w.name() + w.space() + w.pick("==", "!=") + w.space() + w.quoted()
}

func (w *writer) values() string {
	values := make([]string, w.IntN(4))
	for i := range values {
		values[i] = w.space() + w.quoted() + w.space()
	}
	return "{" + strings.Join(values, ",") + w.pick("", "", "", ",") + "}"
}

func (w *writer) quoted() string {
	value := w.value()
	if strings.Contains(value, "'") || !strings.Contains(value, `"`) && w.IntN(2) == 0 {
		return `"` + value + `"`
	}
	return "'" + value + "'"
}

// spoiled has one byte taken away, put in, or changed.
func (w *writer) spoiled() string {
	text := []byte(w.selector())
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

func (w *writer) pieces() string {
	var text strings.Builder
	for range w.IntN(8) {
		text.WriteString(w.pick("a", "b", "'x'", `"y"`, "==", "!=", "in", "not", "not in", "{", "}", ",", "contains", "starts", "with", "ends",
			"starts with", "has(", "has(a)", "all()", "global()", "(", ")", "!", "&&", "||", " ", "\t", "\n", "'", "a=='x'", "é", "\xff", "\u00a0"))
	}
	return text.String()
}
