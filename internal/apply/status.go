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

// WriteStatus writes the whole status of a policy: other conditions are removed,
// whoever added them. If the policy has changed since the status was decided, the write
// is refused with a conflict: a status never overwrites the status of a newer
// generation.
func WriteStatus(
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
	if err := readAnswer(object.Object, answer); err != nil {
		return err
	}
	want := answer.DeepCopy()
	want.Status = v1alpha1.ControlPlaneNetworkPolicyStatus{}
	if err := readAnswer(content, &want.Status); err != nil { // times in the stored precision
		return err
	}
	patch := func(object client.Object, patch client.Patch) error {
		return c.Status().Patch(ctx, object, patch, client.FieldOwner(v1alpha1.FieldManagerStatus))
	}
	return ensureStored(patch, answer, want, func(object client.Object) any {
		return *object.(*v1alpha1.ControlPlaneNetworkPolicy).Status.DeepCopy()
	})
}

// ensureStored patches a part of an object of this API, if the answer to an apply
// differs from the wanted part because other managers own further items of a list.
func ensureStored(patch func(client.Object, client.Patch) error, answer, want client.Object, part func(client.Object) any) error {
	wanted := part(want)
	if equality.Semantic.DeepEqual(part(answer), wanted) {
		return nil
	}
	if err := patch(want, client.MergeFromWithOptions(answer, client.MergeFromWithOptimisticLock{})); err != nil {
		return err
	}
	if !equality.Semantic.DeepEqual(part(want), wanted) {
		return &Incomplete{Left: []string{want.GetName() + " differs from the written object"}}
	}
	return nil
}

// readAnswer converts an answer of the API server.
func readAnswer(answer map[string]any, into any) error {
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(answer, into); err != nil {
		return fmt.Errorf("reading the answer of the API server: %w", err)
	}
	return nil
}
