// SPDX-License-Identifier: Apache-2.0

// Package jsonschema makes schemas for kubeconform, from the schemas of an API server and
// of CustomResourceDefinitions. Objects are closed: a field missing in the schema is
// refused.
package jsonschema

import (
	"encoding/json"
	"fmt"
	"slices"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

const (
	preserveUnknown = "x-kubernetes-preserve-unknown-fields"
	groupsAndKinds  = "x-kubernetes-group-version-kind"
)

// OfKind returns the schema of a kind of an OpenAPI v3 document, as an API server serves the
// document below /openapi/v3.
func OfKind(document []byte, kind schema.GroupVersionKind) ([]byte, error) {
	openAPI := struct {
		Components struct {
			Schemas map[string]map[string]any `json:"schemas"`
		} `json:"components"`
	}{}
	if err := json.Unmarshal(document, &openAPI); err != nil {
		return nil, fmt.Errorf("read the OpenAPI document of %s: %w", kind, err)
	}
	root := ""
	for name, component := range openAPI.Components.Schemas {
		if declaresKind(component, kind) {
			root = name
		}
		closeObjects(component)
	}
	if root == "" {
		return nil, fmt.Errorf("the OpenAPI document has no %s", kind)
	}
	return json.Marshal(map[string]any{"$ref": "#/components/schemas/" + root, "components": openAPI.Components})
}

func declaresKind(component map[string]any, kind schema.GroupVersionKind) bool {
	declared, _ := component[groupsAndKinds].([]any)
	return slices.ContainsFunc(declared, func(entry any) bool {
		fields, _ := entry.(map[string]any)
		return fields["group"] == kind.Group && fields["version"] == kind.Version && fields["kind"] == kind.Kind
	})
}

// OfDefinition returns the schema of a version of a custom resource. The metadata stays
// open, because a definition does not list the fields of the metadata.
func OfDefinition(definition *apiextensionsv1.CustomResourceDefinition, version string) ([]byte, error) {
	for _, v := range definition.Spec.Versions {
		if v.Name != version || v.Schema == nil {
			continue
		}
		text, err := json.Marshal(v.Schema.OpenAPIV3Schema)
		if err != nil {
			return nil, err
		}
		object := map[string]any{}
		if err := json.Unmarshal(text, &object); err != nil {
			return nil, err
		}
		closeObjects(object)
		return json.Marshal(object)
	}
	return nil, fmt.Errorf("%s has no schema of version %s", definition.Name, version)
}

// closeObjects refuses, in a schema and all schemas below, unlisted fields of objects. An
// object without listed fields may have any fields. OpenAPI's nullable becomes a type of
// JSON schema.
func closeObjects(node any) {
	switch node := node.(type) {
	case []any:
		for _, item := range node {
			closeObjects(item)
		}
	case map[string]any:
		for key, value := range node {
			if key == "properties" {
				closeProperties(value)
			} else {
				closeObjects(value)
			}
		}
		_, listed := node["properties"].(map[string]any)
		_, decided := node["additionalProperties"]
		if listed && !decided && node["type"] == "object" && node[preserveUnknown] != true {
			node["additionalProperties"] = false
		}
		if kind, single := node["type"].(string); single && node["nullable"] == true {
			node["type"] = []any{kind, "null"}
		}
	}
}

// closeProperties closes the schema of each property; "type" may be the name of one.
func closeProperties(properties any) {
	byName, _ := properties.(map[string]any)
	for _, property := range byName {
		closeObjects(property)
	}
}
