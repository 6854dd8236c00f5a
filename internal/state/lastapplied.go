// SPDX-License-Identifier: Apache-2.0

package state

import (
	"encoding/json"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// Bounds of what is read of somebody else's annotation.
const (
	// maxLastApplied is the longest copy that is read. A longer one is as good as
	// none: what it declares shows when it is written a second time.
	maxLastApplied = 64 << 10
	// maxDeclared is the longest value of a field that is kept.
	maxDeclared = 4 << 10
)

// LastApplied returns the fields of the spec that were declared in a client-side
// apply (kubectl, and Argo CD unless it is told otherwise), which leaves a copy of
// what it applied on the object, and whether there is such a copy. A field that
// the copy does not have was only defaulted, whoever its manager is.
//
// Whoever may change the object may write this annotation. So it is no more than
// a reason to leave a field alone and to say so: never to write a value, to
// release one, or to delete anything.
func LastApplied(annotations map[string]string) (spec map[string]json.RawMessage, applied bool) {
	text, there := annotations[corev1.LastAppliedConfigAnnotation]
	if !there || len(text) > maxLastApplied {
		return nil, false
	}
	var object struct {
		Spec map[string]json.RawMessage `json:"spec"`
	}
	if err := json.Unmarshal([]byte(text), &object); err != nil {
		return nil, false
	}
	return object.Spec, true
}

// declaresNothing is the copy of an object that declares none of the fields that
// are looked at.
const declaresNothing = "{}"

// ReduceLastApplied returns the copy with these fields of the spec only. A value
// that is longer than anybody needs is kept as null: that the field is declared
// matters more than how.
func ReduceLastApplied(annotations map[string]string, fields ...string) (text string, applied bool) {
	spec, applied := LastApplied(annotations)
	if !applied {
		return "", false
	}
	kept := map[string]json.RawMessage{}
	for _, field := range fields {
		value, declared := spec[field]
		if declared && len(value) > maxDeclared {
			value = json.RawMessage("null")
		}
		if declared {
			kept[field] = value
		}
	}
	if len(kept) == 0 {
		return declaresNothing, true
	}
	out, err := json.Marshal(map[string]any{"spec": kept})
	if err != nil {
		return "", false // it was JSON a moment ago
	}
	return string(out), true
}

// appliedOnly are the annotations that are kept of an object of which nothing
// else is: most objects of a cluster that is kept in git. They share one map, and
// the cache is never written to.
var appliedOnly = map[string]string{corev1.LastAppliedConfigAnnotation: declaresNothing}

// keepLastApplied adds to the annotations that are kept what of a client-side
// apply concerns these fields; and, where it declares any, to the paths whose
// managers are kept the copy itself: whoever wrote it declares them, whoever has
// set them since.
func keepLastApplied(kept, annotations map[string]string, paths []fieldpath.Path, fields ...string) (
	map[string]string, []fieldpath.Path,
) {
	text, applied := ReduceLastApplied(annotations, fields...)
	switch {
	case !applied:
		return kept, paths
	case text == declaresNothing && len(kept) == 0:
		return appliedOnly, paths
	case text != declaresNothing:
		paths = slices.Concat(paths, []fieldpath.Path{lastAppliedPath})
	}
	kept[corev1.LastAppliedConfigAnnotation] = text
	return kept, paths
}
