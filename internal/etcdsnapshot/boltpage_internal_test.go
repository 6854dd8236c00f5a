// SPDX-License-Identifier: Apache-2.0

package etcdsnapshot

import (
	"encoding/binary"
	"testing"

	. "github.com/onsi/gomega"
)

// Numbers that lead out of a page are refused, whatever they are.
func TestPagesThatLeadOut(t *testing.T) {
	leaf := func(count int, numbers ...uint32) []byte { return pageWith(leafPage, count, numbers...) }
	tests := map[string]struct {
		content []byte
		want    string
	}{
		"good":                       {leaf(1, 0, 16, 4, 4, 0, 0), ""},
		"no header":                  {make([]byte, headerSize-1), "has 15 bytes"},
		"more elements than fit":     {leaf(3, 0, 16, 4, 4, 0, 0), "3 elements are more than fit"},
		"a key in the element":       {leaf(1, 0, 15, 4, 4, 0, 0), "out of the page"},
		"a key behind the page":      {leaf(1, 0, 24, 4, 0, 0, 0), "out of the page"},
		"a value behind the page":    {leaf(1, 0, 16, 4, 5, 0, 0), "out of the page"},
		"sums beyond 32 bits":        {leaf(1, 0, 16, 1<<32-1, 1<<32-1, 0, 0), "out of the page"},
		"a branch behind the page":   {pageWith(branchPage, 1, 16, 9, 2, 0, 0, 0), "out of the page"},
		"free pages":                 {pageWith(freelistPage, 2, 2, 0, 3, 0), ""},
		"more free pages than fit":   {pageWith(freelistPage, 3, 2, 0, 3, 0), "3 free pages are more than fit"},
		"many free pages":            {pageWith(freelistPage, manyFree, 1, 0, 3, 0), ""},
		"too many free pages to fit": {pageWith(freelistPage, manyFree, 2, 0, 3, 0), "2 free pages are more than fit"},
		"endless free pages":         {pageWith(freelistPage, manyFree, 1<<32-1, 1<<32-1), "18446744073709551615 free pages"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			_, err := parsePage(test.content)
			if test.want == "" {
				g.Expect(err).NotTo(HaveOccurred())
				return
			}
			g.Expect(err).To(MatchError(ContainSubstring(test.want)))
		})
	}
}

// pageWith returns a page whose header is followed by the numbers.
func pageWith(kind uint16, count int, numbers ...uint32) []byte {
	content := make([]byte, headerSize)
	binary.NativeEndian.PutUint16(content[8:], kind)
	binary.NativeEndian.PutUint16(content[10:], uint16(count)) //nolint:gosec // a small number
	for _, n := range numbers {
		content = binary.NativeEndian.AppendUint32(content, n)
	}
	return content
}

// The keys of a page are not less than the key of the page above, and in order.
func TestOrderOfKeys(t *testing.T) {
	keys := func(names ...string) (p page) {
		p.kind = leafPage
		for _, name := range names {
			p.elements = append(p.elements, element{key: []byte(name)})
		}
		return p
	}
	for name, test := range map[string]struct {
		page page
		good bool
	}{
		"in order":            {keys("b", "c"), true},
		"none":                {keys(), true},
		"the same twice":      {keys("b", "b"), false},
		"not in order":        {keys("c", "b"), false},
		"before the limit":    {keys("a", "c"), false},
		"after the limit":     {keys("b", "e"), false},
		"the limit itself":    {keys("b", "d"), false},
		"a branch without it": {page{kind: branchPage}, false},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			visited := 0
			err := test.page.each(subtree{from: []byte("b"), to: []byte("d")}, func(subtree, element) error { visited++; return nil })
			g.Expect(err == nil).To(Equal(test.good), "%v", err)
			if test.good {
				g.Expect(visited).To(Equal(len(test.page.elements)))
			}
		})
	}
}
