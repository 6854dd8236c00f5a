// SPDX-License-Identifier: Apache-2.0

package jsonschema

import (
	"testing"

	. "github.com/onsi/gomega"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

var widget = schema.GroupVersionKind{Group: "example.com", Version: "v1", Kind: "Widget"}

func TestSchemaOfKindIsClosed(t *testing.T) {
	g := NewWithT(t)
	document := `{"components": {"schemas": {
		"Widget": {
			"type": "object",
			"x-kubernetes-group-version-kind": [{"group": "example.com", "version": "v1", "kind": "Widget"}],
			"properties": {
				"type": {"type": "string", "nullable": true},
				"properties": {"allOf": [{"$ref": "#/components/schemas/Any"}]},
				"labels": {"type": "object", "additionalProperties": {"type": "string"}},
				"items": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}}}},
		"Any": {"type": "object"}}}}`
	text, err := OfKind([]byte(document), widget)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(text).To(MatchJSON(`{"$ref": "#/components/schemas/Widget", "components": {"schemas": {
		"Widget": {
			"type": "object", "additionalProperties": false,
			"x-kubernetes-group-version-kind": [{"group": "example.com", "version": "v1", "kind": "Widget"}],
			"properties": {
				"type": {"type": ["string", "null"], "nullable": true},
				"properties": {"allOf": [{"$ref": "#/components/schemas/Any"}]},
				"labels": {"type": "object", "additionalProperties": {"type": "string"}},
				"items": {"type": "array", "items": {"type": "object", "additionalProperties": false, "properties": {"name": {"type": "string"}}}}}},
		"Any": {"type": "object"}}}}`))

	unknown := widget
	unknown.Version = "v2"
	_, err = OfKind([]byte(document), unknown)
	g.Expect(err).To(MatchError(ContainSubstring("has no example.com/v2, Kind=Widget")))
}

func TestSchemaOfDefinitionIsClosed(t *testing.T) {
	g := NewWithT(t)
	definition := &apiextensionsv1.CustomResourceDefinition{}
	g.Expect(yaml.UnmarshalStrict([]byte(`
metadata: {name: widgets.example.com}
spec:
  versions:
  - name: v1
    schema:
      openAPIV3Schema:
        type: object
        properties:
          metadata: {type: object}
          spec:
            type: object
            properties:
              size: {type: integer}
              free: {type: object, x-kubernetes-preserve-unknown-fields: true, properties: {name: {type: string}}}
`), definition)).To(Succeed())
	text, err := OfDefinition(definition, "v1")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(text).To(MatchJSON(`{"type": "object", "additionalProperties": false, "properties": {
		"metadata": {"type": "object"},
		"spec": {"type": "object", "additionalProperties": false, "properties": {
			"size": {"type": "integer"},
			"free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"name": {"type": "string"}}}}}}}`))

	_, err = OfDefinition(definition, "v2")
	g.Expect(err).To(MatchError("widgets.example.com has no schema of version v2"))
}
