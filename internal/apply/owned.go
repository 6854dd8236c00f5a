// SPDX-License-Identifier: Apache-2.0

// Package apply holds the ways in which the operator writes: one for each kind of
// object. A repair is one request, and nothing is read for it: what the API server
// answers shows what came of it. Only if that is not what was written, there is a
// second one; and if that does not help either, the write has failed (Incomplete).
package apply

import (
	"context"
	"fmt"
	"reflect"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
)

// Owned makes an object of the operator's as desired, with server-side apply:
// what others added to it beside our fields, such as labels, stays. live is
// what the decision was made on, nil if there was none; if it has changed since,
// the write is refused with a conflict.
//
// What others have added to a field of ours would stay too, where its list is a set,
// as of Calico v3.32 the networks of a set and the profiles of an endpoint are. It is
// taken out with a patch: instead of the apply, where it is seen before, and after it
// otherwise.
func Owned(ctx context.Context, c client.Writer, desired, live client.Object) error {
	if live != nil && !plan.Shared(desired) && drift.Outlives(desired, live) {
		return correct(ctx, c, desired, live, drift.Left(desired, live))
	}
	object, err := configuration(desired, live)
	if err != nil {
		return err
	}
	err = applyOwned(ctx, c, object)
	if _, policy := desired.(*v3.GlobalNetworkPolicy); policy && live == nil && apierrors.IsNotFound(err) {
		err = createThenApply(ctx, c, desired, object)
	}
	if err != nil {
		return err
	}
	is, err := typed(object, desired)
	if err != nil {
		return err
	}
	switch left := drift.Left(desired, is); {
	case len(left) == 0:
		return nil
	case plan.Shared(desired): // what a patch writes, no apply could give back
		return incomplete(left)
	default:
		return correct(ctx, c, desired, is, left)
	}
}

// createThenApply is for the API server of Calico v3.32.0, which answers a
// server-side apply of a policy that is not there with "not found" (calico issue
// 12841). It leaves the server's last answer in the object.
func createThenApply(ctx context.Context, c client.Writer, desired client.Object, object *unstructured.Unstructured) error {
	created := object.DeepCopy()
	if err := c.Create(ctx, created, client.FieldOwner(v1alpha1.FieldManagerNetwork)); err != nil {
		return err
	}
	live, err := typed(created, desired)
	if err != nil {
		return err
	}
	again, err := configuration(desired, live)
	if err != nil {
		return err
	}
	err = applyOwned(ctx, c, again)
	object.Object = again.Object
	return err
}

// configuration returns what is applied.
func configuration(desired, live client.Object) (*unstructured.Unstructured, error) {
	content, err := plan.Content(desired)
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

// correct ends what differs with a merge patch, and makes sure of it.
func correct(ctx context.Context, c client.Writer, desired, live client.Object, left []drift.Finding) error {
	patch, err := correction(desired, live, left)
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
	is, err := typed(patched, desired)
	if err != nil {
		return err
	}
	if left := drift.Left(desired, is); len(left) > 0 {
		return incomplete(left)
	}
	return nil
}

// typed returns an answer of the API server as an object of the desired one's type.
func typed(answer *unstructured.Unstructured, desired client.Object) (client.Object, error) {
	object := reflect.New(reflect.TypeOf(desired).Elem()).Interface().(client.Object)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(answer.Object, object); err != nil {
		return nil, fmt.Errorf("reading what the API server answered of %s: %w", answer.GetName(), err)
	}
	return object, nil
}

func applyOwned(ctx context.Context, c client.Writer, object *unstructured.Unstructured) error {
	return c.Apply(ctx, client.ApplyConfigurationFromUnstructured(object),
		client.FieldOwner(v1alpha1.FieldManagerNetwork), client.ForceOwnership)
}

// clearUnexpected claims the fields of the spec that others added, with the
// value that says nothing: an apply leaves alone what it does not mention.
func clearUnexpected(object *unstructured.Unstructured, live client.Object) error {
	there, err := plan.Fields(live)
	if err != nil {
		return err
	}
	spec, _ := object.Object["spec"].(map[string]any)
	for field, value := range there {
		if _, wanted := spec[field]; !wanted {
			spec[field] = nothing(value)
		}
	}
	return nil
}

// nothing returns the value of the same kind that stands for none.
func nothing(value any) any {
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

// Delete deletes an object of ours, if it is still the one that was looked at.
// Of one that others have written to as well, only what is ours is taken away.
func Delete(ctx context.Context, c client.Writer, live client.Object) error {
	if felix, shared := live.(*v3.FelixConfiguration); shared && !drift.Alone(felix) {
		object := &unstructured.Unstructured{}
		// What is read does not say its kind. There is only one of these.
		object.SetGroupVersionKind(v3.SchemeGroupVersion.WithKind(v3.KindFelixConfiguration))
		object.SetName(live.GetName())
		object.SetUID(live.GetUID())
		object.SetResourceVersion(live.GetResourceVersion())
		return applyOwned(ctx, c, object)
	}
	uid, version := live.GetUID(), live.GetResourceVersion()
	return client.IgnoreNotFound(c.Delete(ctx, live, client.Preconditions{UID: &uid, ResourceVersion: &version}))
}
