// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// Status writes the status of a policy as a whole: conditions that are not in it go,
// whoever has added them. It is refused with a conflict if the policy has changed since
// the status was decided on: that of an older generation is never written over a newer
// one.
func Status(
	ctx context.Context, c client.Client, policy *v1alpha1.ControlPlaneNetworkPolicy, status *v1alpha1.ControlPlaneNetworkPolicyStatus,
) error {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(status)
	if err != nil {
		return fmt.Errorf("rendering the status of policy %s: %w", policy.Name, err)
	}
	object := &unstructured.Unstructured{Object: map[string]any{"status": content}}
	object.SetGroupVersionKind(v1alpha1.SchemeGroupVersion.WithKind("ControlPlaneNetworkPolicy"))
	object.SetName(policy.Name)
	object.SetUID(policy.UID)
	object.SetResourceVersion(policy.ResourceVersion)
	if err := c.Status().Apply(ctx, client.ApplyConfigurationFromUnstructured(object),
		client.FieldOwner(v1alpha1.FieldManagerStatus), client.ForceOwnership); err != nil {
		return err
	}
	answer := &v1alpha1.ControlPlaneNetworkPolicy{}
	if err := read(object.Object, answer); err != nil {
		return err
	}
	want := answer.DeepCopy()
	want.Status = v1alpha1.ControlPlaneNetworkPolicyStatus{}
	if err := read(content, &want.Status); err != nil { // times as they are stored
		return err
	}
	patch := func(object client.Object, patch client.Patch) error {
		return c.Status().Patch(ctx, object, patch, client.FieldOwner(v1alpha1.FieldManagerStatus))
	}
	return enforce(patch, answer, want, func(object client.Object) any {
		return *object.(*v1alpha1.ControlPlaneNetworkPolicy).Status.DeepCopy()
	})
}

// enforce makes a part of an object of this API what is wanted, where what the API
// server answered to an apply is not that: others hold items of a list besides.
func enforce(patch func(client.Object, client.Patch) error, answer, want client.Object, part func(client.Object) any) error {
	wanted := part(want)
	if equality.Semantic.DeepEqual(part(answer), wanted) {
		return nil
	}
	if err := patch(want, client.MergeFromWithOptions(answer, client.MergeFromWithOptimisticLock{})); err != nil {
		return err
	}
	if !equality.Semantic.DeepEqual(part(want), wanted) {
		return &Incomplete{Left: []string{want.GetName() + " has more, or less, than was written"}}
	}
	return nil
}

// read reads what the API server answered.
func read(answer map[string]any, into any) error {
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(answer, into); err != nil {
		return fmt.Errorf("reading what the API server answered: %w", err)
	}
	return nil
}
