// SPDX-License-Identifier: Apache-2.0

package state

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

func managing(field string) string { return fmt.Sprintf(`{"f:spec":{"f:%s":{}}}`, field) }

// A text is parsed once, and each text has its own fields.
func TestManagedFieldsAreParsedOnce(t *testing.T) {
	g := NewWithT(t)
	var memory parsedFields
	taints, readable := memory.parse([]byte(managing("taints")))
	g.Expect(readable).To(BeTrue())
	g.Expect(taints.Has(fieldpath.MakePathOrDie("spec", "taints"))).To(BeTrue())
	again, _ := memory.parse([]byte(managing("taints")))
	g.Expect(again).To(BeIdenticalTo(taints))
	other, _ := memory.parse([]byte(managing("unschedulable")))
	g.Expect(other.Has(fieldpath.MakePathOrDie("spec", "taints"))).To(BeFalse())
	g.Expect(other.Has(fieldpath.MakePathOrDie("spec", "unschedulable"))).To(BeTrue())

	for range 2 {
		_, readable = memory.parse([]byte(`{"f:spec"`))
		g.Expect(readable).To(BeFalse(), "the text is unreadable, also the second time")
	}
	_, there := ManagedFields(metav1.ManagedFieldsEntry{})
	g.Expect(there).To(BeFalse())
}

// The remembered fields do not change when the caller changes the text.
func TestManagedFieldsDoNotFollowTheText(t *testing.T) {
	g := NewWithT(t)
	var memory parsedFields
	text := []byte(managing("a"))
	first, _ := memory.parse(text)
	copy(text, managing("b"))
	g.Expect(first.Has(fieldpath.MakePathOrDie("spec", "a"))).To(BeTrue())
	second, _ := memory.parse(text)
	g.Expect(second.Has(fieldpath.MakePathOrDie("spec", "b"))).To(BeTrue())
}

// Foreign texts of all lengths do not fill the memory.
func TestRememberedManagedFieldsAreBounded(t *testing.T) {
	g := NewWithT(t)
	var memory parsedFields
	long := managing(strings.Repeat("x", maxParsedText))
	_, readable := memory.parse([]byte(long))
	g.Expect(readable).To(BeTrue())
	g.Expect(memory.known).To(BeEmpty(), "a long text is not remembered")
	size := func() (size int) {
		for text := range memory.known {
			size += len(text)
		}
		return size
	}
	for i := range 1000 {
		text := managing(fmt.Sprint(strings.Repeat("x", i), i))
		memory.parse([]byte(text))
		g.Expect(size()).To(BeNumerically("<=", maxParsedTexts))
		g.Expect(size()).To(Equal(memory.size))
		g.Expect(memory.known).To(HaveKey(text), "the newest text is remembered")
	}
}

// Reconcilers and watches parse at the same time.
func TestManagedFieldsAreSafeForConcurrentUse(t *testing.T) {
	var memory parsedFields
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			for i := range 2000 {
				field := fmt.Sprint(strings.Repeat("x", 1000), (i*worker)%300)
				if set, readable := memory.parse([]byte(managing(field))); !readable || !set.Has(fieldpath.MakePathOrDie("spec", field)) {
					t.Errorf("fields of another text for %s", field)
					return
				}
			}
		})
	}
	all.Wait()
}
