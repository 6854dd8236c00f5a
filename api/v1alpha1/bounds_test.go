// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"fmt"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	structural "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/cpnp-dev/cpnp-operator/test/crd"
)

// theirs says whether a part of the schema is not this API's to bound: the
// fields that every object has, and metav1.Condition.
func theirs(path string) bool {
	return !strings.HasPrefix(path, "spec") && !strings.HasPrefix(path, "status") || strings.HasPrefix(path, "status.conditions[]")
}

func TestEveryFieldIsBounded(t *testing.T) {
	kinds, visited := kinds(t), 0
	for name := range complete {
		kindOf(kinds, name).Walk(func(path string, node *structural.Structural) {
			if theirs(path) {
				return
			}
			visited++
			if lack := unbounded(node); lack != "" {
				t.Errorf("%s of %s has no %s", path, name, lack)
			}
		})
	}
	NewWithT(t).Expect(visited).To(BeNumerically(">", 150))
}

// unbounded returns which bound a node of the schema lacks.
func unbounded(node *structural.Structural) string {
	v := node.ValueValidation
	if v == nil {
		v = &structural.ValueValidation{}
	}
	switch {
	case node.XPreserveUnknownFields || node.XIntOrString || node.Type == "":
		return "type"
	case node.Type == "array" && node.XListType == nil:
		return "listType"
	case node.Type == "array" && v.MaxItems == nil:
		return "maxItems"
	case node.Type == "object" && node.AdditionalProperties != nil && v.MaxProperties == nil:
		return "maxProperties"
	case node.Type == "string" && v.MaxLength == nil && v.Enum == nil && v.Format == "":
		return "maxLength, enum or format"
	case node.Type == "integer" && v.Minimum == nil:
		return "minimum"
	case node.Type == "integer" && v.Maximum == nil && v.Format != "int32" && v.Format != "int64":
		return "maximum or format"
	}
	return ""
}

func TestEverythingHoldsEveryField(t *testing.T) {
	kinds := kinds(t)
	same := func(value any) any { return value }
	for name := range complete {
		kindOf(kinds, name).Walk(func(path string, _ *structural.Structural) {
			if theirs(path) {
				return
			}
			everything, file := withField(t, kinds, name, path)
			if !theirs(path) && !change(everything, strings.Split(path, "."), same) {
				t.Errorf("testdata/accepted/%s lacks %s", file, path)
			}
		})
	}
}

// limit is one change to a valid object, just beyond a bound of the schema.
type limit struct {
	path, what string
	change     func(any) any
	answer     string
}

func TestAPIServerRefusesValuesJustBeyondEachBound(t *testing.T) {
	kinds, tried := kinds(t), 0
	for name := range complete {
		var limits []limit
		kindOf(kinds, name).Walk(func(path string, node *structural.Structural) {
			if !theirs(path) {
				limits = append(limits, limitsOf(path, node)...)
			}
		})
		tried += len(limits)
		for _, l := range limits {
			t.Run(name+"/"+l.path+" "+l.what, func(t *testing.T) {
				g := NewWithT(t)
				everything, file := withField(t, kinds, name, l.path)
				object := runtime.DeepCopyJSON(everything)
				g.Expect(change(object, strings.Split(l.path, "."), l.change)).To(BeTrue(), "testdata/accepted/%s lacks the field", file)
				var answers []string
				for _, err := range kinds.Check(object) {
					answers = append(answers, crd.SchemaPath(err.Error()))
				}
				place := strings.TrimSuffix(l.path, "[]") // the API server names some items by [0], others by .key
				g.Expect(answers).To(ContainElement(And(HavePrefix(place), ContainSubstring(l.answer))))
			})
		}
	}
	NewWithT(t).Expect(tried).To(BeNumerically(">", 150))
}

func limitsOf(path string, node *structural.Structural) (limits []limit) {
	v := node.ValueValidation
	if v == nil {
		return nil
	}
	add := func(what, answer string, change func(any) any) {
		limits = append(limits, limit{path, what, change, answer})
	}
	long := func(limit *int64) any { return strings.Repeat("a", int(*limit)+1) }
	if v.MaxItems != nil {
		answer := fmt.Sprintf("must have at most %d items", *v.MaxItems)
		add("with too many items", answer, func(old any) any { return repeat(old.([]any), int(*v.MaxItems)+1) })
	}
	if v.MinItems != nil {
		add("without items", fmt.Sprintf("should have at least %d items", *v.MinItems), func(any) any { return []any{} })
	}
	if v.MaxProperties != nil {
		answer := fmt.Sprintf("must have at most %d items", *v.MaxProperties)
		add("with too many entries", answer, func(any) any { return entries(int(*v.MaxProperties) + 1) })
	}
	if v.MaxLength != nil {
		add("too long", fmt.Sprintf("may not be more than %d bytes", *v.MaxLength), func(any) any { return long(v.MaxLength) })
	}
	if v.MinLength != nil {
		add("empty", fmt.Sprintf("should be at least %d chars long", *v.MinLength), func(any) any { return "" })
	}
	if v.Enum != nil {
		add("unknown", "supported values: ", func(any) any { return "Nonsense" })
	}
	if v.Minimum != nil {
		add("too small", fmt.Sprintf("should be greater than or equal to %d", int64(*v.Minimum)), func(any) any { return int64(*v.Minimum) - 1 })
	}
	if v.Maximum != nil {
		add("too large", fmt.Sprintf("should be less than or equal to %d", int64(*v.Maximum)), func(any) any { return int64(*v.Maximum) + 1 })
	}
	for _, name := range v.Required {
		add("without "+name, name+": Required value", func(old any) any { delete(old.(map[string]any), name); return old })
	}
	return limits
}

// change replaces the first value at a path of the schema.
func change(value any, path []string, with func(any) any) bool {
	object, ok := value.(map[string]any)
	if !ok {
		return false
	}
	name := strings.TrimSuffix(path[0], "[]")
	child, there := object[name]
	if !there {
		return false
	}
	if name != path[0] {
		return changeItem(child, path[1:], with)
	}
	if len(path) == 1 {
		object[name] = with(child)
		return true
	}
	return change(child, path[1:], with)
}

// changeItem changes the first item of a list or map that has the path.
func changeItem(value any, path []string, with func(any) any) bool {
	switch items := value.(type) {
	case []any:
		for i := range items {
			if len(path) == 0 {
				items[i] = with(items[i])
				return true
			}
			if change(items[i], path, with) {
				return true
			}
		}
	case map[string]any:
		for key := range items {
			items[key] = with(items[key])
			return true
		}
	}
	return false
}

func repeat(items []any, count int) []any {
	var out []any
	for range count {
		out = append(out, runtime.DeepCopyJSONValue(items[0]))
	}
	return out
}

func entries(count int) map[string]any {
	out := map[string]any{}
	for i := range count {
		out[fmt.Sprintf("label-%d", i)] = "value"
	}
	return out
}
