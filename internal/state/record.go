// SPDX-License-Identifier: Apache-2.0

package state

import (
	"encoding/json"
	"fmt"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// Record is what the operator did to an object that it shares with others, by
// field: "key:effect" for a taint of a Node, the field's name for a Service.
// It is kept in an annotation of the object itself, written in the same request
// as the field, so that it can not be lost, or be ahead of or behind the truth.
type Record map[string]RecordEntry

// RecordEntry is what the operator did to one field.
type RecordEntry struct {
	// Policy for which it was done.
	Policy string `json:"policy"`
	// Applied is the value that was written.
	Applied string `json:"applied"`
	// Original is the value that was there before; nil when there was none.
	Original *string `json:"original"`
}

// ReadRecord returns the record that an object carries, which is empty where it
// carries none, or one that somebody has made unreadable: what it said is lost
// then, and no wrong original is restored from a guess.
func ReadRecord(annotations map[string]string) Record {
	record := Record{}
	if text, ok := annotations[v1alpha1.AnnotationRecord]; ok {
		if err := json.Unmarshal([]byte(text), &record); err != nil || record == nil {
			return Record{}
		}
	}
	return record
}

// String returns the record as the annotation's value. Equal records give
// equal strings.
func (r Record) String() string {
	text, err := json.Marshal(r)
	if err != nil {
		panic(fmt.Sprintf("a record of strings is always JSON: %v", err))
	}
	return string(text)
}

// Mentions says whether anything was done for the policy.
func (r Record) Mentions(policy string) bool {
	for _, entry := range r {
		if entry.Policy == policy {
			return true
		}
	}
	return false
}
