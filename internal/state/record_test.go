// SPDX-License-Identifier: Apache-2.0

package state_test

import (
	"testing"

	. "github.com/onsi/gomega"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

func TestRecordIsReadAsItWasWritten(t *testing.T) {
	g := NewWithT(t)
	record := state.Record{
		"node-role.kubernetes.io/control-plane:NoSchedule": {Policy: "p", Applied: "", Original: nil},
		"b": {Policy: "q", Applied: "x", Original: ptr.To("")},
		"a": {Policy: "q", Applied: `"quoted"`, Original: ptr.To("y")},
	}
	const text = `{"a":{"policy":"q","applied":"\"quoted\"","original":"y"},"b":{"policy":"q","applied":"x","original":""},` +
		`"node-role.kubernetes.io/control-plane:NoSchedule":{"policy":"p","applied":"","original":null}}`
	g.Expect(record.String()).To(Equal(text), "records in clusters are written so, and equal ones alike")
	g.Expect(state.ReadRecord(map[string]string{v1alpha1.AnnotationRecord: text})).To(Equal(record))
}

func TestRecordThatCanNotBeReadIsEmptyAndCanBeWrittenTo(t *testing.T) {
	for name, annotations := range map[string]map[string]string{
		"no annotations":       nil,
		"no such annotation":   {"other": "x"},
		"an empty one":         {v1alpha1.AnnotationRecord: ""},
		"no JSON":              {v1alpha1.AnnotationRecord: "{broken"},
		"null":                 {v1alpha1.AnnotationRecord: "null"},
		"a list":               {v1alpha1.AnnotationRecord: "[]"},
		"a value of no record": {v1alpha1.AnnotationRecord: `{"a":{"policy":"p","applied":"x"},"b":5}`},
		"more than a record":   {v1alpha1.AnnotationRecord: `{"a":{"policy":"p","applied":"x"}} {}`},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			record := state.ReadRecord(annotations)
			g.Expect(record).To(BeEmpty(), "nothing is restored from a guess")
			record["a"] = state.RecordEntry{Policy: "p"}
			g.Expect(record.Mentions("p")).To(BeTrue())
		})
	}
}

func TestRecordOfAnOlderOrNewerVersionIsRead(t *testing.T) {
	record := state.ReadRecord(map[string]string{v1alpha1.AnnotationRecord: `{"a":{"policy":"p","applied":"x","since":"2026"}}`})
	NewWithT(t).Expect(record).To(Equal(state.Record{"a": {Policy: "p", Applied: "x"}}))
}

func TestRecordMentionsThePoliciesInIt(t *testing.T) {
	g := NewWithT(t)
	record := state.Record{"a": {Policy: "p"}, "b": {Policy: "q"}}
	g.Expect(record.Mentions("p")).To(BeTrue())
	g.Expect(record.Mentions("q")).To(BeTrue())
	g.Expect(record.Mentions("a")).To(BeFalse())
	g.Expect(state.Record(nil).Mentions("p")).To(BeFalse())
}
