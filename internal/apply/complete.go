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

// Incomplete is a write that the API server has accepted, and after which the object
// is not as it was written.
type Incomplete struct {
	// Left says what differs, sorted.
	Left []string
}

// Error says what to look for: nothing that the operator may do helps.
func (e *Incomplete) Error() string {
	return "the API server accepted the write and did not store what was written: " + wording.ListPoints(e.Left) +
		"; look for an admission webhook or policy that changes the object (kubectl get mutatingwebhookconfigurations,mutatingadmissionpolicies)"
}

func incomplete(left []drift.Finding) error {
	lines := make([]string, 0, len(left))
	for _, f := range left {
		lines = append(lines, f.Difference())
	}
	return &Incomplete{Left: lines}
}

// correction is a merge patch of what an apply has left. It replaces lists as a
// whole, whoever holds their items; it is refused if the object has changed since.
func correction(desired, answer client.Object, left []drift.Finding) (client.Patch, error) {
	fields, err := plan.Fields(desired)
	if err != nil {
		return nil, err
	}
	labels, annotations, spec := map[string]any{}, map[string]any{}, map[string]any{}
	for _, f := range left {
		if name, is := strings.CutPrefix(f.Field, "spec."); is {
			spec[name] = fields[name] // nil removes it
			continue
		}
		if key, is := keyOf(f.Field, "labels"); is {
			labels[key] = valueOf(desired.GetLabels(), key)
		} else if key, is := keyOf(f.Field, "annotations"); is {
			annotations[key] = valueOf(desired.GetAnnotations(), key)
		}
	}
	metadata := map[string]any{"uid": answer.GetUID(), "resourceVersion": answer.GetResourceVersion()}
	body := map[string]any{"metadata": metadata}
	put(metadata, "labels", labels)
	put(metadata, "annotations", annotations)
	put(body, "spec", spec)
	text, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("writing the patch of %s: %w", answer.GetName(), err)
	}
	return client.RawPatch(types.MergePatchType, text), nil
}

// keyOf returns the key of a label or an annotation that a finding is about.
func keyOf(field, of string) (key string, is bool) {
	rest, is := strings.CutPrefix(field, "metadata."+of+"[")
	return strings.TrimSuffix(rest, "]"), is
}

// valueOf returns the value of a key in a merge patch: nil removes it.
func valueOf(values map[string]string, key string) any {
	if value, wanted := values[key]; wanted {
		return value
	}
	return nil
}

func put(object map[string]any, key string, part map[string]any) {
	if len(part) > 0 {
		object[key] = part
	}
}

// fieldsLeft says which of the fields that were set the API server did not store, by
// its answer.
func fieldsLeft(set map[string]*string, is func(field string) *string, left ...string) error {
	for _, field := range slices.Sorted(maps.Keys(set)) {
		want, got := set[field], is(field)
		if (want == nil) != (got == nil) || want != nil && *want != *got {
			left = append(left, fmt.Sprintf("%s is %s instead of %s", field, shown(got), shown(want)))
		}
	}
	if len(left) == 0 {
		return nil
	}
	return &Incomplete{Left: left}
}

// recordLeft says that the record of a Service is not as written, if so.
func recordLeft(answer client.Object, record state.Record) []string {
	want := ""
	if len(record) > 0 {
		want = record.String()
	}
	if answer.GetAnnotations()[v1alpha1.AnnotationRecord] == want {
		return nil
	}
	return []string{"the annotation " + v1alpha1.AnnotationRecord + " is not as written"}
}

func shown(value *string) string {
	switch {
	case value == nil:
		return "(none)"
	case *value == "":
		return `""`
	}
	return wording.Shorten(*value, 80)
}
