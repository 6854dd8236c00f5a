// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// Bounds of the remembered managed fields, in bytes of their texts: of one text, and of all.
// A parsed text takes five times as much, and a text of many short names up to fourteen
// times. Other writers choose the texts; the texts of the operator and of common tools are
// much shorter. A full memory starts anew.
const (
	maxParsedText  = 4 << 10
	maxParsedTexts = 128 << 10
)

// parsedFields remembers parsed managed fields by their text, because the objects of a kind
// share few texts, and to parse a text takes many times as long as to use the result.
type parsedFields struct {
	mu    sync.Mutex
	known map[string]*fieldpath.Set
	size  int // of the texts
}

var managedFields parsedFields

// ManagedFields returns the fields of an entry of managedFields; false if the entry has no
// readable fields. Callers share the result and must not change the result.
func ManagedFields(entry metav1.ManagedFieldsEntry) (*fieldpath.Set, bool) {
	if entry.FieldsV1 == nil {
		return nil, false
	}
	return managedFields.parse(entry.FieldsV1.GetRawBytes())
}

func (p *parsedFields) parse(text []byte) (*fieldpath.Set, bool) {
	if len(text) > maxParsedText {
		return parseFields(text)
	}
	if set, known := p.recall(text); known {
		return set, true
	}
	set, readable := parseFields(text)
	if readable {
		p.remember(string(text), set)
	}
	return set, readable
}

func (p *parsedFields) recall(text []byte) (*fieldpath.Set, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	set, known := p.known[string(text)]
	return set, known
}

func (p *parsedFields) remember(text string, set *fieldpath.Set) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.known[text]; known {
		return
	}
	if p.known == nil || p.size+len(text) > maxParsedTexts {
		p.known, p.size = map[string]*fieldpath.Set{}, 0
	}
	p.known[text], p.size = set, p.size+len(text)
}

func parseFields(text []byte) (*fieldpath.Set, bool) {
	set := &fieldpath.Set{}
	if err := set.FromJSON(bytes.NewReader(text)); err != nil {
		return nil, false
	}
	return set, true
}
