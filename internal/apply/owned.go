// SPDX-License-Identifier: Apache-2.0

// Package apply holds the ways in which the operator writes: one for each kind
// of object, each exactly one request for one repair.
package apply

import (
	"context"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
)

// Owned makes an object of the operator's as desired, with server-side apply:
// what others added to it beside our fields, such as labels, stays. live is
// what the decision was made on, nil if there was none; if it has changed since,
// the write is refused with a conflict.
func Owned(ctx context.Context, c client.Writer, desired, live client.Object) error {
	content, err := plan.Content(desired)
	if err != nil {
		return err
	}
	object := &unstructured.Unstructured{Object: content}
	if live != nil {
		object.SetUID(live.GetUID())
		object.SetResourceVersion(live.GetResourceVersion())
		if err := clearUnexpected(object, live); err != nil {
			return err
		}
	}
	return applyOwned(ctx, c, object)
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
