// SPDX-License-Identifier: Apache-2.0

package drift

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// Node returns a Node as a shared object whose fields are its taints.
func Node(node *corev1.Node) Shared {
	// The list of taints is atomic: whoever wrote it last is its manager.
	by := func(string) Manager {
		who := Who(node.ManagedFields, v1alpha1.FieldManagerTaints, "spec", "taints")
		// Nobody can declare a single taint: the list has one owner. So a
		// taint is repaired whoever wrote the list.
		who.Declares = false
		return who
	}
	return Shared{
		Object: Object{Kind: "Node", Name: node.Name},
		Live:   func(field string) *string { return plan.TaintValue(node, field) },
		By:     by,
		Record: state.ReadRecord(node.Annotations),
	}
}
