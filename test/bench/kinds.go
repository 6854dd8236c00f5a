// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// kind is a kind of repaired objects.
type kind struct {
	name, resource string
	object         func() client.Object
	list           func() client.ObjectList
	// drift is the foreign write, and declared the declared state, both as merge patches.
	// Only a kind of which many drift at once has the latter.
	drift, declared string
	// right tells whether the object is as declared.
	right func(client.Object) bool
	// repair returns the part of the spec that restores the object's current state.
	repair func(client.Object) any
	// applied tells that the operator repairs the kind with a server-side apply, and not
	// with a merge patch. The null repairer makes the same request.
	applied bool
	// target returns the name of a drifting object.
	target func(owner string, i int) types.NamespacedName
}

var declaredTaint = corev1.Taint{Key: testbed.ControlPlaneRole, Effect: corev1.TaintEffectNoSchedule}

var kinds = []kind{
	{
		name: "Node, a taint", resource: "nodes",
		object:   func() client.Object { return &corev1.Node{} },
		list:     func() client.ObjectList { return &corev1.NodeList{} },
		drift:    `{"spec":{"taints":[{"key":"` + testbed.ControlPlaneRole + `","value":"other","effect":"NoSchedule"}]}}`,
		declared: `{"spec":{"taints":[{"key":"` + testbed.ControlPlaneRole + `","effect":"NoSchedule"}]}}`,
		right: func(o client.Object) bool {
			return slices.Contains(o.(*corev1.Node).Spec.Taints, declaredTaint)
		},
		repair: func(o client.Object) any { return map[string]any{"taints": o.(*corev1.Node).Spec.Taints} },
		target: func(owner string, i int) types.NamespacedName {
			return types.NamespacedName{Name: objectName(owner, i)}
		},
	},
	{
		name: "Service, a traffic policy", resource: "services", applied: true,
		object:   func() client.Object { return &corev1.Service{} },
		list:     func() client.ObjectList { return &corev1.ServiceList{} },
		drift:    `{"spec":{"internalTrafficPolicy":"Cluster"}}`,
		declared: `{"spec":{"internalTrafficPolicy":"Local"}}`,
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
		name: "NetworkPolicy, its rules", resource: "networkpolicies", applied: true,
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

// request is a prepared request, which restores the state of an object.
type request struct {
	client.Patch
	options []client.PatchOption
}

// repairRequest returns the request to restore the current state of original on the object
// with the key.
func (k kind) repairRequest(key types.NamespacedName, original client.Object) request {
	body := map[string]any{"spec": k.repair(original)}
	if !k.applied {
		return request{Patch: client.RawPatch(types.MergePatchType, mustMarshal(body))}
	}
	gvk, err := apiutil.GVKForObject(k.object(), scheme.Scheme)
	if err != nil {
		panic(fmt.Sprintf("the kinds are Kubernetes' own: %v", err))
	}
	body["apiVersion"], body["kind"] = gvk.GroupVersion().String(), gvk.Kind
	body["metadata"] = map[string]any{"namespace": key.Namespace, "name": key.Name}
	return request{
		Patch:   client.RawPatch(types.ApplyPatchType, mustMarshal(body)),
		options: []client.PatchOption{client.FieldOwner(nullUser), client.ForceOwnership},
	}
}

func mustMarshal(body map[string]any) []byte {
	text, err := json.Marshal(body)
	if err != nil {
		panic(fmt.Sprintf("what the API server sent can be written as JSON: %v", err))
	}
	return text
}

// restore makes a prepared request.
func (k kind) restore(ctx context.Context, c client.Client, key types.NamespacedName, with request) error {
	return c.Patch(ctx, k.objectNamed(key), with.Patch, with.options...)
}
