// SPDX-License-Identifier: Apache-2.0

package calico

import (
	"fmt"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"k8s.io/apimachinery/pkg/runtime"
)

// Content returns what is written of an object: without the fields that
// Calico's types always have and that are not set, such as an empty source.
// Of a Felix configuration that is the failsafe ports alone: the other fields
// belong to whoever sets them, and may be of a newer Calico than these types
// know.
func Content(object Object) (map[string]any, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return nil, fmt.Errorf("rendering %s: %w", object.GetName(), err)
	}
	delete(content, "status")
	felix, shared := object.(*v3.FelixConfiguration)
	if !shared {
		return withoutEmpty(content), nil
	}
	const failsafes = "failsafeInboundHostPorts"
	spec, _ := content["spec"].(map[string]any)
	ports := spec[failsafes]
	delete(content, "spec")
	content = withoutEmpty(content)
	if felix.Spec.FailsafeInboundHostPorts != nil { // no port at all says a lot
		content["spec"] = map[string]any{failsafes: ports}
	}
	return content, nil
}

// withoutEmpty leaves out what says nothing. No selector is ever rendered empty,
// which Calico would read as everything.
func withoutEmpty(in map[string]any) map[string]any {
	out := map[string]any{}
	for key, value := range in {
		switch v := value.(type) {
		case nil:
		case string:
			if v != "" {
				out[key] = v
			}
		case map[string]any:
			if kept := withoutEmpty(v); len(kept) > 0 {
				out[key] = kept
			}
		case []any:
			if kept := items(v); len(kept) > 0 {
				out[key] = kept
			}
		default:
			out[key] = value
		}
	}
	return out
}

// items keeps every item: a rule that says nothing but its action says it of
// everything.
func items(in []any) []any {
	out := make([]any, 0, len(in))
	for _, item := range in {
		if object, ok := item.(map[string]any); ok {
			item = withoutEmpty(object)
		}
		out = append(out, item)
	}
	return out
}
