// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// kind is a kind of repaired objects.
type kind struct {
	name, resource string
	object         func() client.Object
	list           func() client.ObjectList
	// drift is the foreign write, a merge patch.
	drift string
	// right tells whether the object is as declared.
	right func(client.Object) bool
	// repair returns the merge patch to restore the object's current state.
	repair func(client.Object) any
	// target returns the name of a drifting object.
	target func(owner string, i int) types.NamespacedName
}

var declaredTaint = corev1.Taint{Key: testbed.ControlPlaneRole, Effect: corev1.TaintEffectNoSchedule}

var kinds = []kind{
	{
		name: "Node, a taint", resource: "nodes",
		object: func() client.Object { return &corev1.Node{} },
		list:   func() client.ObjectList { return &corev1.NodeList{} },
		drift:  `{"spec":{"taints":[{"key":"` + testbed.ControlPlaneRole + `","value":"other","effect":"NoSchedule"}]}}`,
		right: func(o client.Object) bool {
			return slices.Contains(o.(*corev1.Node).Spec.Taints, declaredTaint)
		},
		repair: func(o client.Object) any { return map[string]any{"taints": o.(*corev1.Node).Spec.Taints} },
		target: func(owner string, i int) types.NamespacedName {
			return types.NamespacedName{Name: objectName(owner, i)}
		},
	},
	{
		name: "Service, a traffic policy", resource: "services",
		object: func() client.Object { return &corev1.Service{} },
		list:   func() client.ObjectList { return &corev1.ServiceList{} },
		drift:  `{"spec":{"internalTrafficPolicy":"Cluster"}}`,
		right: func(o client.Object) bool {
			return *o.(*corev1.Service).Spec.InternalTrafficPolicy == corev1.ServiceInternalTrafficPolicyLocal
		},
		repair: func(o client.Object) any {
			return map[string]any{"internalTrafficPolicy": o.(*corev1.Service).Spec.InternalTrafficPolicy}
		},
		target: func(owner string, i int) types.NamespacedName {
			return types.NamespacedName{Namespace: namespaceOf(i), Name: objectName(owner, i)}
		},
	},
	{
		name: "NetworkPolicy, its rules", resource: "networkpolicies",
		object: func() client.Object { return &networkingv1.NetworkPolicy{} },
		list:   func() client.ObjectList { return &networkingv1.NetworkPolicyList{} },
		drift:  `{"spec":{"ingress":[{}]}}`, // from all senders
		right: func(o client.Object) bool {
			rules := o.(*networkingv1.NetworkPolicy).Spec.Ingress
			return len(rules) == 1 && len(rules[0].From) > 0
		},
		repair: func(o client.Object) any {
			return map[string]any{"ingress": o.(*networkingv1.NetworkPolicy).Spec.Ingress}
		},
		target: networkPolicyTarget,
	},
}

func networkPolicyTarget(owner string, i int) types.NamespacedName {
	if owner == operatorUser {
		return types.NamespacedName{Namespace: namespaceOf(0), Name: plan.NetworkPolicyName("bench", objectName("component", i))}
	}
	return types.NamespacedName{Namespace: namespaceOf(0), Name: objectName(owner, i)}
}

// objectNamed returns an object of the kind with only a name.
func (k kind) objectNamed(key types.NamespacedName) client.Object {
	object := k.object()
	object.SetNamespace(key.Namespace)
	object.SetName(key.Name)
	return object
}

// repairPatch returns the patch to restore the object's current state.
func (k kind) repairPatch(object client.Object) client.Patch {
	body, err := json.Marshal(map[string]any{"spec": k.repair(object)})
	if err != nil {
		panic(fmt.Sprintf("what the API server sent can be written as JSON: %v", err))
	}
	return client.RawPatch(types.MergePatchType, body)
}
