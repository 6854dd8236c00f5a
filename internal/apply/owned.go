// SPDX-License-Identifier: Apache-2.0

// Package apply holds the ways in which the operator writes: one for each kind of
// object. A repair is one request without a read: the answer of the API server shows
// the result. If the result is not as written, a second request follows. If the second
// request does not help either, the write has failed (Incomplete).
package apply

import (
	"context"
	"fmt"
	"reflect"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
)

// WriteOwned writes a managed object as desired, with server-side apply: fields and
// labels that others added beside the managed fields stay. The live object is the basis
// of the decision, nil if there was none. If the object has changed since, the write is
// refused with a conflict.
//
// Items that others added to a managed list would also stay, if the list is a set: for
// example, since Calico v3.32, the networks of a set and the profiles of an endpoint. A
// patch removes such items: instead of the apply if the items are known before, and
// otherwise after the apply.
func WriteOwned(ctx context.Context, c client.Writer, desired, live client.Object) error {
	if live != nil && !plan.IsShared(desired) && drift.ForeignPartRemains(desired, live) {
		return patchDifferences(ctx, c, desired, live, drift.RemainingDifferences(desired, live))
	}
	object, err := renderConfiguration(desired, live)
	if err != nil {
		return err
	}
	err = applyOwned(ctx, c, object)
	if backend.TraitsOf(desired).NeedsCreate && live == nil && apierrors.IsNotFound(err) {
		err = createThenApply(ctx, c, desired, object)
	}
	if err != nil {
		return err
	}
	is, err := convertAnswer(object, desired)
	if err != nil {
		return err
	}
	switch left := drift.RemainingDifferences(desired, is); {
	case len(left) == 0:
		return nil
	case plan.IsShared(desired): // no apply could release the fields that a patch writes
		return incompleteError(left)
	default:
		return patchDifferences(ctx, c, desired, is, left)
	}
}

// createThenApply is for objects that an API server does not create by a server-side apply.
// The object then holds the last answer of the server.
func createThenApply(ctx context.Context, c client.Writer, desired client.Object, object *unstructured.Unstructured) error {
	created := object.DeepCopy()
	if err := c.Create(ctx, created, client.FieldOwner(v1alpha1.FieldManagerNetwork)); err != nil {
		return err
	}
	live, err := convertAnswer(created, desired)
	if err != nil {
		return err
	}
	again, err := renderConfiguration(desired, live)
	if err != nil {
		return err
	}
	err = applyOwned(ctx, c, again)
	object.Object = again.Object
	return err
}

// renderConfiguration returns the object to apply.
func renderConfiguration(desired, live client.Object) (*unstructured.Unstructured, error) {
	content, err := plan.WrittenContent(desired)
	if err != nil {
		return nil, err
	}
	object := &unstructured.Unstructured{Object: content}
	if live == nil {
		return object, nil
	}
	object.SetUID(live.GetUID())
	object.SetResourceVersion(live.GetResourceVersion())
	return object, clearUnexpected(object, live)
}

// patchDifferences removes the differences with a merge patch, and checks the answer.
func patchDifferences(ctx context.Context, c client.Writer, desired, live client.Object, left []drift.Finding) error {
	patch, err := correctionPatch(desired, live, left)
	if err != nil {
		return err
	}
	patched := &unstructured.Unstructured{}
	patched.SetGroupVersionKind(desired.GetObjectKind().GroupVersionKind())
	patched.SetNamespace(desired.GetNamespace())
	patched.SetName(desired.GetName())
	if err := c.Patch(ctx, patched, patch, client.FieldOwner(v1alpha1.FieldManagerNetwork)); err != nil {
		return err
	}
	is, err := convertAnswer(patched, desired)
	if err != nil {
		return err
	}
	if left := drift.RemainingDifferences(desired, is); len(left) > 0 {
		return incompleteError(left)
	}
	return nil
}

// convertAnswer returns an answer of the API server as an object of the desired type.
func convertAnswer(answer *unstructured.Unstructured, desired client.Object) (client.Object, error) {
	object := reflect.New(reflect.TypeOf(desired).Elem()).Interface().(client.Object)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(answer.Object, object); err != nil {
		return nil, fmt.Errorf("reading the answer of the API server about %s: %w", answer.GetName(), err)
	}
	return object, nil
}

func applyOwned(ctx context.Context, c client.Writer, object *unstructured.Unstructured) error {
	return c.Apply(ctx, client.ApplyConfigurationFromUnstructured(object),
		client.FieldOwner(v1alpha1.FieldManagerNetwork), client.ForceOwnership)
}

// clearUnexpected claims the spec fields that others added, with empty values: an apply
// does not change fields without a value in the request.
func clearUnexpected(object *unstructured.Unstructured, live client.Object) error {
	there, err := plan.SpecFields(live)
	if err != nil {
		return err
	}
	spec, _ := object.Object["spec"].(map[string]any)
	for field, value := range there {
		if _, wanted := spec[field]; !wanted {
			spec[field] = emptyValue(value)
		}
	}
	return nil
}

// emptyValue returns the empty value of the same type.
func emptyValue(value any) any {
	switch value.(type) {
	case []any:
		return []any{}
	case map[string]any:
		return map[string]any{}
	case string:
		return ""
	case bool:
		return false
	default:
		return nil
	}
}

// DeleteOwned deletes a managed object, if the object is unchanged since the read. If
// others have written to the object too, only the managed fields are removed.
func DeleteOwned(ctx context.Context, c client.Writer, live client.Object) error {
	if traits := backend.TraitsOf(live); traits.Shared && !drift.IsOnlyWriter(live) {
		object := &unstructured.Unstructured{}
		object.SetGroupVersionKind(traits.Kind) // an object that was read has no kind
		object.SetName(live.GetName())
		object.SetUID(live.GetUID())
		object.SetResourceVersion(live.GetResourceVersion())
		return applyOwned(ctx, c, object)
	}
	uid, version := live.GetUID(), live.GetResourceVersion()
	return client.IgnoreNotFound(c.Delete(ctx, live, client.Preconditions{UID: &uid, ResourceVersion: &version}))
}
