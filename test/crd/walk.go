// SPDX-License-Identifier: Apache-2.0

package crd

import (
	"maps"
	"regexp"
	"slices"

	structural "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
)

// Walk visits every node of the schema, parents first. The items of a list and
// the values of a map have the path of it with [] at the end.
func (k *Kind) Walk(visit func(path string, node *structural.Structural)) { walk("", k.Schema, visit) }

func walk(path string, node *structural.Structural, visit func(string, *structural.Structural)) {
	visit(path, node)
	for _, name := range slices.Sorted(maps.Keys(node.Properties)) {
		child, childPath := node.Properties[name], name
		if path != "" {
			childPath = path + "." + name
		}
		walk(childPath, &child, visit)
	}
	if node.Items != nil {
		walk(path+"[]", node.Items, visit)
	}
	if node.AdditionalProperties != nil && node.AdditionalProperties.Structural != nil {
		walk(path+"[]", node.AdditionalProperties.Structural, visit)
	}
}

var index = regexp.MustCompile(`\[[^\]]*\]`)

// SchemaPath returns the path in the schema of a path in an object: what is in
// brackets goes.
func SchemaPath(path string) string { return index.ReplaceAllString(path, "[]") }
