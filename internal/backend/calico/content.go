// SPDX-License-Identifier: Apache-2.0

package calico

import (
	"fmt"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/cpnp-dev/cpnp-operator/internal/backend"
)

// WrittenContent returns the fields of an object that the operator writes. Empty fields
// are left out, such as an empty source, because Calico's types always have all fields.
//
// Of a Felix configuration, only the failsafe ports are written. The other fields
// belong to other managers, and may come from a newer version of Calico.
func WrittenContent(object backend.Object) (map[string]any, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return nil, fmt.Errorf("rendering %s: %w", object.GetName(), err)
	}
	delete(content, "status")
	felix, shared := object.(*v3.FelixConfiguration)
	if !shared {
		return withoutEmptyFields(content), nil
	}
	const failsafes = "failsafeInboundHostPorts"
	spec, _ := content["spec"].(map[string]any)
	ports := spec[failsafes]
	delete(content, "spec")
	content = withoutEmptyFields(content)
	if felix.Spec.FailsafeInboundHostPorts != nil { // an empty list has a meaning: no port is a failsafe port
		content["spec"] = map[string]any{failsafes: ports}
	}
	return content, nil
}

// withoutEmptyFields leaves out empty fields. A selector is never rendered empty,
// because Calico would read an empty selector as everything.
func withoutEmptyFields(in map[string]any) map[string]any {
	out := map[string]any{}
	for key, value := range in {
		switch v := value.(type) {
		case nil:
		case string:
			if v != "" {
				out[key] = v
			}
		case map[string]any:
			if kept := withoutEmptyFields(v); len(kept) > 0 {
				out[key] = kept
			}
		case []any:
			if kept := cleanItems(v); len(kept) > 0 {
				out[key] = kept
			}
		default:
			out[key] = value
		}
	}
	return out
}

// cleanItems keeps every item of a list, without the empty fields of the item: a rule
// that has only an action applies to all traffic.
func cleanItems(in []any) []any {
	out := make([]any, 0, len(in))
	for _, item := range in {
		if object, ok := item.(map[string]any); ok {
			item = withoutEmptyFields(object)
		}
		out = append(out, item)
	}
	return out
}
