// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"encoding/json"

	corev1 "k8s.io/api/core/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// SharedNode returns a Node as a shared object. The fields are the taints. The list of taints is
// atomic: the last writer is the manager of the whole list, and a declaration of the list
// also declares the absence of all other taints.
func SharedNode(node *corev1.Node, record state.Record) Shared {
	return Shared{
		Object: Object{Kind: "Node", Name: node.Name},
		Live:   func(field string) *string { return plan.TaintValue(node, field) },
		By: func(string) Manager {
			return managerAndTool(node.ManagedFields, v1alpha1.FieldManagerTaints, "spec", "taints")
		},
		Declared:       func(field string) Declaration { return declaredTaint(node, field) },
		ForgeableSigns: true,
		Record:         record,
	}
}

func declaredTaint(node *corev1.Node, field string) Declaration {
	spec, applied := state.LastApplied(node.Annotations)
	list, declares := spec["taints"]
	said := Declaration{Applied: applied, Declares: declares}
	if !declares {
		return said
	}
	said.By = lastApplier(node.ManagedFields)
	var taints []corev1.Taint
	if json.Unmarshal(list, &taints) == nil {
		said.Value = plan.TaintValue(&corev1.Node{Spec: corev1.NodeSpec{Taints: taints}}, field)
	}
	return said
}
