// SPDX-License-Identifier: Apache-2.0

package state

import (
	"encoding/json"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// Bounds of the parsed annotation, which others write.
const (
	// maxLastApplied is the length of the longest parsed copy. A longer copy counts as
	// missing: the declared fields show when the manager writes a second time.
	maxLastApplied = 64 << 10
	// maxDeclared is the length of the longest kept value of a field.
	maxDeclared = 4 << 10
)

// LastApplied returns the fields of the spec declared by a client-side apply, and whether
// there was such an apply. A client-side apply (kubectl, and Argo CD by default) leaves a
// copy of the applied object in an annotation. A field missing in the copy was only
// defaulted, even if a manager owns the field.
//
// Every writer of the object may write the annotation. So the annotation is only a reason
// to leave a field alone and to report the field: never to write a value, to release a
// field, or to delete an object.
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

// declaresNothing is a copy that declares none of the used fields.
const declaresNothing = "{}"

// ReduceLastApplied returns the copy with only the given fields of the spec. A value
// longer than any real value is kept as null: the declaration of the field matters more
// than the value.
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
		return "", false // the text was JSON a moment ago
	}
	return string(out), true
}

// appliedOnly are the annotations of objects without other kept annotations: most
// objects of a cluster that is kept in git. The objects share the map, because the
// cache is never written to.
var appliedOnly = map[string]string{corev1.LastAppliedConfigAnnotation: declaresNothing}

// keepLastApplied adds to the kept annotations the reduced copy of a client-side apply. If
// the copy declares one of the fields, the path of the copy is added to the paths whose
// managers are kept: the writer of the copy declares the fields, even if another manager
// has set the fields since.
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
