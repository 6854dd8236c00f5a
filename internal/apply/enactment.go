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

// Enactment writes how far the protection of a node is, and what is to be tried
// there; live is what the decision was made on, nil if there was none. It is
// refused with a conflict if that has changed since, so that of two operators
// only one decides. What observers have found is theirs, and stays.
func Enactment(ctx context.Context, c client.Client, desired, live *v1alpha1.ControlPlaneNodeEnactment) error {
	version := ""
	if live != nil {
		version = live.ResourceVersion
	}
	if live == nil || !equality.Semantic.DeepEqual(desired.Spec, live.Spec) {
		object, err := enactment(desired, version, "spec", desired.Spec)
		if err != nil {
			return err
		}
		if live == nil {
			err = c.Create(ctx, object, client.FieldOwner(v1alpha1.FieldManagerRollout))
		} else {
			err = c.Apply(ctx, client.ApplyConfigurationFromUnstructured(object),
				client.FieldOwner(v1alpha1.FieldManagerRollout), client.ForceOwnership)
		}
		if err != nil {
			return err
		}
		version = object.GetResourceVersion()
	}
	status := desired.Status.DeepCopy()
	status.Observers = nil
	object, err := enactment(desired, version, "status", status)
	if err != nil {
		return err
	}
	return c.Status().Apply(ctx, client.ApplyConfigurationFromUnstructured(object),
		client.FieldOwner(v1alpha1.FieldManagerRollout), client.ForceOwnership)
}

// enactment returns an object with one part of it.
func enactment(e *v1alpha1.ControlPlaneNodeEnactment, version, part string, value any) (*unstructured.Unstructured, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&value)
	if err != nil {
		return nil, fmt.Errorf("rendering the %s of enactment %s: %w", part, e.Name, err)
	}
	object := &unstructured.Unstructured{Object: map[string]any{part: content}}
	object.SetGroupVersionKind(v1alpha1.SchemeGroupVersion.WithKind("ControlPlaneNodeEnactment"))
	object.SetName(e.Name)
	object.SetResourceVersion(version)
	if part == "spec" {
		object.SetLabels(e.Labels)
		object.SetOwnerReferences(e.OwnerReferences)
	}
	return object, nil
}
