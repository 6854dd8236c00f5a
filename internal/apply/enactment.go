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

// WriteEnactment writes the state of a node's protection, and the targets to probe. The
// live enactment is the basis of the decision, nil if there was none. If the enactment
// has changed since, the write is refused with a conflict, so that of two operators
// only one decides. The findings of observers belong to the observers, and stay.
//
// The spec is written before the status: the decision in the status counts on the probe
// round that the spec asks for. A confirmation is withdrawn after the status: if the status
// is refused, what was confirmed is not lost.
func WriteEnactment(ctx context.Context, c client.Client, desired, live *v1alpha1.ControlPlaneNodeEnactment) error {
	version, generation, err := writeEnactmentSpec(ctx, c, desired, live)
	if err != nil {
		return err
	}
	desired.Status.ObservedGeneration = generation
	status := desired.Status.DeepCopy()
	status.Observers = nil
	object, err := renderEnactment(desired, version, "status", status)
	if err != nil {
		return err
	}
	want := &v1alpha1.ControlPlaneNodeEnactment{}
	if err := readAnswer(object.DeepCopy().Object, want); err != nil { // times in the stored precision
		return err
	}
	if err := c.Status().Apply(ctx, client.ApplyConfigurationFromUnstructured(object),
		client.FieldOwner(v1alpha1.FieldManagerRollout), client.ForceOwnership); err != nil {
		return err
	}
	answer := &v1alpha1.ControlPlaneNodeEnactment{}
	if err := readAnswer(object.Object, answer); err != nil {
		return err
	}
	decided := want.Status
	want = answer.DeepCopy()
	want.Status = decided
	want.Status.Observers = answer.Status.Observers
	patch := func(object client.Object, patch client.Patch) error {
		return c.Status().Patch(ctx, object, patch, client.FieldOwner(v1alpha1.FieldManagerRollout))
	}
	if err := ensureStored(patch, answer, want, func(object client.Object) any {
		status := object.(*v1alpha1.ControlPlaneNodeEnactment).Status.DeepCopy()
		status.Observers = nil
		return *status
	}); err != nil {
		return err
	}
	return withdrawConfirmation(ctx, c, desired, live, want.ResourceVersion)
}

// withdrawConfirmation removes the annotation of a confirmation that was given for an earlier
// state. The annotation belongs to the manager that set the annotation, so only a patch
// removes the annotation. version is that of the enactment now.
func withdrawConfirmation(ctx context.Context, c client.Client, desired, live *v1alpha1.ControlPlaneNodeEnactment, version string) error {
	if live == nil || live.Annotations[v1alpha1.AnnotationConfirm] == "" || desired.Annotations[v1alpha1.AnnotationConfirm] != "" {
		return nil
	}
	confirmed := live.DeepCopy()
	confirmed.ResourceVersion = version
	withdrawn := confirmed.DeepCopy()
	delete(withdrawn.Annotations, v1alpha1.AnnotationConfirm)
	patch := client.MergeFromWithOptions(confirmed, client.MergeFromWithOptimisticLock{})
	return c.Patch(ctx, withdrawn, patch, client.FieldOwner(v1alpha1.FieldManagerRollout))
}

// writeEnactmentSpec writes all fields but the status, as far as the fields differ, and
// returns the new resourceVersion and the generation.
func writeEnactmentSpec(ctx context.Context, c client.Client, desired, live *v1alpha1.ControlPlaneNodeEnactment) (
	version string, generation int64, err error,
) {
	if live == nil {
		// Create only with the fields that never change: created fields belong to the
		// create request for ever, and no apply could remove a created target from the
		// list.
		created := &v1alpha1.ControlPlaneNodeEnactment{
			ObjectMeta: metav1.ObjectMeta{Name: desired.Name, Labels: desired.Labels, OwnerReferences: desired.OwnerReferences},
			Spec:       v1alpha1.ControlPlaneNodeEnactmentSpec{Policy: desired.Spec.Policy, Node: desired.Spec.Node},
		}
		if err := c.Create(ctx, created, client.FieldOwner(v1alpha1.FieldManagerRollout)); err != nil {
			return "", 0, err
		}
		live = created
	}
	version = live.ResourceVersion
	if equality.Semantic.DeepEqual(desired.Spec, live.Spec) {
		return version, live.Generation, nil
	}
	object, err := renderEnactment(desired, version, "spec", &desired.Spec)
	if err != nil {
		return "", 0, err
	}
	if err := c.Apply(ctx, client.ApplyConfigurationFromUnstructured(object),
		client.FieldOwner(v1alpha1.FieldManagerRollout), client.ForceOwnership); err != nil {
		return "", 0, err
	}
	answer := &v1alpha1.ControlPlaneNodeEnactment{}
	if err := readAnswer(object.Object, answer); err != nil {
		return "", 0, err
	}
	want := answer.DeepCopy()
	desired.Spec.DeepCopyInto(&want.Spec)
	patch := func(object client.Object, patch client.Patch) error {
		return c.Patch(ctx, object, patch, client.FieldOwner(v1alpha1.FieldManagerRollout))
	}
	err = ensureStored(patch, answer, want, func(object client.Object) any {
		return *object.(*v1alpha1.ControlPlaneNodeEnactment).Spec.DeepCopy()
	})
	return want.ResourceVersion, answer.Generation, err
}

// WriteObservers removes all observers from an enactment but the kept ones: observers
// of deleted nodes would take the room of other observers.
func WriteObservers(ctx context.Context, c client.Client, live *v1alpha1.ControlPlaneNodeEnactment, kept []v1alpha1.Observation) error {
	changed := live.DeepCopy()
	changed.Status.Observers = kept
	return c.Status().Patch(ctx, changed, client.MergeFromWithOptions(live, client.MergeFromWithOptimisticLock{}),
		client.FieldOwner(v1alpha1.FieldManagerRollout))
}

// renderEnactment returns an enactment with only one part: spec or status.
func renderEnactment(e *v1alpha1.ControlPlaneNodeEnactment, version, part string, value any) (*unstructured.Unstructured, error) {
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
