// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// Incomplete is the error of a write that the API server accepted without storing all
// of the written values.
type Incomplete struct {
	// Left are the differences, sorted.
	Left []string
}

// Error says where to look: no write of the operator can help.
func (e *Incomplete) Error() string {
	return "the API server accepted the write, but did not store all values: " + wording.ListPoints(e.Left) +
		"; look for an admission webhook or policy that changes the object (kubectl get mutatingwebhookconfigurations,mutatingadmissionpolicies)"
}

func incompleteError(left []drift.Finding) error {
	lines := make([]string, 0, len(left))
	for _, f := range left {
		lines = append(lines, f.DescribeDifference())
	}
	return &Incomplete{Left: lines}
}

// correctionPatch returns a merge patch for the differences after an apply. The patch
// replaces whole lists, whichever manager owns the items, and is refused if the object
// has changed since.
func correctionPatch(desired, answer client.Object, left []drift.Finding) (client.Patch, error) {
	fields, err := plan.SpecFields(desired)
	if err != nil {
		return nil, err
	}
	labels, annotations, spec := map[string]any{}, map[string]any{}, map[string]any{}
	for _, f := range left {
		if name, is := strings.CutPrefix(f.Field, "spec."); is {
			spec[name] = fields[name] // nil removes the field
			continue
		}
		if key, is := keyOfField(f.Field, "labels"); is {
			labels[key] = valueOfKey(desired.GetLabels(), key)
		} else if key, is := keyOfField(f.Field, "annotations"); is {
			annotations[key] = valueOfKey(desired.GetAnnotations(), key)
		}
	}
	metadata := map[string]any{"uid": answer.GetUID(), "resourceVersion": answer.GetResourceVersion()}
	body := map[string]any{"metadata": metadata}
	putPart(metadata, "labels", labels)
	putPart(metadata, "annotations", annotations)
	putPart(body, "spec", spec)
	text, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("writing the patch of %s: %w", answer.GetName(), err)
	}
	return client.RawPatch(types.MergePatchType, text), nil
}

// keyOfField returns the key of the label or annotation that a field names.
func keyOfField(field, of string) (key string, is bool) {
	rest, is := strings.CutPrefix(field, "metadata."+of+"[")
	return strings.TrimSuffix(rest, "]"), is
}

// valueOfKey returns the value of a key in a merge patch: nil removes the key.
func valueOfKey(values map[string]string, key string) any {
	if value, wanted := values[key]; wanted {
		return value
	}
	return nil
}

func putPart(object map[string]any, key string, part map[string]any) {
	if len(part) > 0 {
		object[key] = part
	}
}

// checkStoredFields returns an error that names the set fields that the API server did
// not store, judged by the answer of the API server.
func checkStoredFields(set map[string]*string, is func(field string) *string, left ...string) error {
	for _, field := range slices.Sorted(maps.Keys(set)) {
		want, got := set[field], is(field)
		if (want == nil) != (got == nil) || want != nil && *want != *got {
			left = append(left, fmt.Sprintf("%s is %s instead of %s", field, quoteValue(got), quoteValue(want)))
		}
	}
	if len(left) == 0 {
		return nil
	}
	return &Incomplete{Left: left}
}

// checkStoredRecord returns a line if the record of a Service is not as written.
func checkStoredRecord(answer client.Object, record state.Record) []string {
	want := ""
	if len(record) > 0 {
		want = record.String()
	}
	if answer.GetAnnotations()[v1alpha1.AnnotationRecord] == want {
		return nil
	}
	return []string{"the annotation " + v1alpha1.AnnotationRecord + " is not as written"}
}

func quoteValue(value *string) string {
	switch {
	case value == nil:
		return "(none)"
	case *value == "":
		return `""`
	}
	return wording.Shorten(*value, 80)
}
