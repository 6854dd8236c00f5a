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

// kind is a kind of object that the operator repairs.
type kind struct {
	name, resource string
	object         func() client.Object
	list           func() client.ObjectList
	// drift is the foreign write, a merge patch.
	drift string
	// right says whether the object is as declared.
	right func(client.Object) bool
	// repair is the merge patch that makes the object as it is now.
	repair func(client.Object) any
	// target is one of the objects that are made to drift.
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
		target: func(owner string, i int) types.NamespacedName { return types.NamespacedName{Name: name(owner, i)} },
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
			return types.NamespacedName{Namespace: namespace(i), Name: name(owner, i)}
		},
	},
	{
		name: "NetworkPolicy, its rules", resource: "networkpolicies",
		object: func() client.Object { return &networkingv1.NetworkPolicy{} },
		list:   func() client.ObjectList { return &networkingv1.NetworkPolicyList{} },
		drift:  `{"spec":{"ingress":[{}]}}`, // from everywhere
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
		return types.NamespacedName{Namespace: namespace(0), Name: plan.NetworkPolicyName("bench", name("component", i))}
	}
	return types.NamespacedName{Namespace: namespace(0), Name: name(owner, i)}
}

// named returns an object of the kind that has only its name.
func (k kind) named(key types.NamespacedName) client.Object {
	object := k.object()
	object.SetNamespace(key.Namespace)
	object.SetName(key.Name)
	return object
}

// prepared is the patch that restores the object's present state.
func (k kind) prepared(object client.Object) client.Patch {
	body, err := json.Marshal(map[string]any{"spec": k.repair(object)})
	if err != nil {
		panic(fmt.Sprintf("what the API server sent can be written as JSON: %v", err))
	}
	return client.RawPatch(types.MergePatchType, body)
}
