// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// Enactment writes how far the protection of a node is, and what is to be tried
// there; live is what the decision was made on, nil if there was none. It is
// refused with a conflict if that has changed since, so that of two operators
// only one decides. What observers have found is theirs, and stays.
//
// The spec comes before the status: what is decided on counts on the round that
// was asked for it.
func Enactment(ctx context.Context, c client.Client, desired, live *v1alpha1.ControlPlaneNodeEnactment) error {
	version, err := enactmentSpec(ctx, c, desired, live)
	if err != nil {
		return err
	}
	status := desired.Status.DeepCopy()
	status.Observers = nil
	object, err := enactment(desired, version, "status", status)
	if err != nil {
		return err
	}
	want := &v1alpha1.ControlPlaneNodeEnactment{}
	if err := read(object.DeepCopy().Object, want); err != nil { // times as they are stored
		return err
	}
	if err := c.Status().Apply(ctx, client.ApplyConfigurationFromUnstructured(object),
		client.FieldOwner(v1alpha1.FieldManagerRollout), client.ForceOwnership); err != nil {
		return err
	}
	answer := &v1alpha1.ControlPlaneNodeEnactment{}
	if err := read(object.Object, answer); err != nil {
		return err
	}
	decided := want.Status
	want = answer.DeepCopy()
	want.Status = decided
	want.Status.Observers = answer.Status.Observers
	patch := func(object client.Object, patch client.Patch) error {
		return c.Status().Patch(ctx, object, patch, client.FieldOwner(v1alpha1.FieldManagerRollout))
	}
	return enforce(patch, answer, want, func(object client.Object) any {
		status := object.(*v1alpha1.ControlPlaneNodeEnactment).Status.DeepCopy()
		status.Observers = nil
		return *status
	})
}

// enactmentSpec writes everything but the status, as far as it differs, and
// returns the version that there is then.
func enactmentSpec(ctx context.Context, c client.Client, desired, live *v1alpha1.ControlPlaneNodeEnactment) (string, error) {
	if live == nil {
		// Only what never changes: what is created belongs to that request for ever,
		// and no apply could take a target out of the list again.
		created := &v1alpha1.ControlPlaneNodeEnactment{
			ObjectMeta: metav1.ObjectMeta{Name: desired.Name, Labels: desired.Labels, OwnerReferences: desired.OwnerReferences},
			Spec:       v1alpha1.ControlPlaneNodeEnactmentSpec{Policy: desired.Spec.Policy, Node: desired.Spec.Node},
		}
		if err := c.Create(ctx, created, client.FieldOwner(v1alpha1.FieldManagerRollout)); err != nil {
			return "", err
		}
		live = created
	}
	version := live.ResourceVersion
	if live.Annotations[v1alpha1.AnnotationConfirm] != "" && desired.Annotations[v1alpha1.AnnotationConfirm] == "" {
		// It was given of something else. Whoever set it owns it: only a patch
		// takes it away.
		withdrawn := live.DeepCopy()
		delete(withdrawn.Annotations, v1alpha1.AnnotationConfirm)
		patch := client.MergeFromWithOptions(live, client.MergeFromWithOptimisticLock{})
		if err := c.Patch(ctx, withdrawn, patch, client.FieldOwner(v1alpha1.FieldManagerRollout)); err != nil {
			return "", err
		}
		version = withdrawn.ResourceVersion
	}
	if equality.Semantic.DeepEqual(desired.Spec, live.Spec) {
		return version, nil
	}
	object, err := enactment(desired, version, "spec", &desired.Spec)
	if err != nil {
		return "", err
	}
	if err := c.Apply(ctx, client.ApplyConfigurationFromUnstructured(object),
		client.FieldOwner(v1alpha1.FieldManagerRollout), client.ForceOwnership); err != nil {
		return "", err
	}
	answer := &v1alpha1.ControlPlaneNodeEnactment{}
	if err := read(object.Object, answer); err != nil {
		return "", err
	}
	want := answer.DeepCopy()
	desired.Spec.DeepCopyInto(&want.Spec)
	patch := func(object client.Object, patch client.Patch) error {
		return c.Patch(ctx, object, patch, client.FieldOwner(v1alpha1.FieldManagerRollout))
	}
	err = enforce(patch, answer, want, func(object client.Object) any {
		return *object.(*v1alpha1.ControlPlaneNodeEnactment).Spec.DeepCopy()
	})
	return want.ResourceVersion, err
}

// Observers leaves of an enactment only the observers that are kept: those of
// nodes that are gone would take the room of others.
func Observers(ctx context.Context, c client.Client, live *v1alpha1.ControlPlaneNodeEnactment, kept []v1alpha1.Observation) error {
	changed := live.DeepCopy()
	changed.Status.Observers = kept
	return c.Status().Patch(ctx, changed, client.MergeFromWithOptions(live, client.MergeFromWithOptimisticLock{}),
		client.FieldOwner(v1alpha1.FieldManagerRollout))
}

// enactment returns an object with one part of it.
func enactment(e *v1alpha1.ControlPlaneNodeEnactment, version, part string, value any) (*unstructured.Unstructured, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(value)
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
