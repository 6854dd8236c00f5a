// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// Service writes the outcome to a Service with server-side apply of the fields
// that are claimed, and the record.
//
// The apply is forced: whoever declares a field was already respected when the
// outcome was made, from managedFields that came with the very resourceVersion
// that is sent along. If somebody declared the field in between, or the Service
// was deleted, the write is refused with a conflict.
//
// A field that is given back falls to its default when the apply leaves it out.
// Only where the original is something else is it written first, in a request
// of its own.
func Service(ctx context.Context, c client.Writer, service *corev1.Service, outcome drift.Outcome) error {
	version, err := restore(ctx, c, service, outcome)
	if err != nil {
		return err
	}
	object := &unstructured.Unstructured{Object: map[string]any{}}
	object.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Service"))
	object.SetNamespace(service.Namespace)
	object.SetName(service.Name)
	object.SetUID(service.UID)
	object.SetResourceVersion(version)
	if len(outcome.Record) > 0 {
		object.SetAnnotations(map[string]string{v1alpha1.AnnotationRecord: outcome.Record.String()})
	}
	held := heldFields(service, outcome)
	if len(held) > 0 {
		object.Object["spec"] = held
	}
	if err := c.Apply(ctx, client.ApplyConfigurationFromUnstructured(object),
		client.FieldOwner(v1alpha1.FieldManagerServices), client.ForceOwnership); err != nil {
		return explain(err, outcome)
	}
	answer := &corev1.Service{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, answer); err != nil {
		return fmt.Errorf("reading what the API server answered of service %s/%s: %w", service.Namespace, service.Name, err)
	}
	if len(outcome.Record) == 0 && answer.Annotations[v1alpha1.AnnotationRecord] != "" {
		return dropRecord(ctx, c, answer)
	}
	// What is given back may stay as it is: others may hold the field too.
	set := map[string]*string{}
	for field, value := range held {
		text := fmt.Sprint(value)
		set[field] = &text
	}
	return fieldsLeft(set, func(field string) *string { return plan.TrafficPolicy(answer, field) }, recordLeft(answer, outcome.Record)...)
}

// dropRecord takes the record away where an apply without it has left it: somebody
// has applied the Service with a copy of it, and holds it too. What it says is not so
// any more.
func dropRecord(ctx context.Context, c client.Writer, answer *corev1.Service) error {
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": answer.UID, "resourceVersion": answer.ResourceVersion,
		"annotations": map[string]any{v1alpha1.AnnotationRecord: nil},
	}})
	if err != nil {
		return fmt.Errorf("writing the patch of service %s/%s: %w", answer.Namespace, answer.Name, err)
	}
	target := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: answer.Namespace, Name: answer.Name}}
	patch := client.RawPatch(types.MergePatchType, body)
	if err := c.Patch(ctx, target, patch, client.FieldOwner(v1alpha1.FieldManagerServices)); err != nil {
		return err
	}
	return fieldsLeft(nil, nil, recordLeft(target, nil)...)
}

// explain adds to a refusal which values of trafficDistribution an older API server
// takes (Kubernetes' feature gate PreferSameTrafficDistribution).
func explain(err error, outcome drift.Outcome) error {
	value := outcome.Set[plan.TrafficDistribution]
	if !apierrors.IsInvalid(err) || value == nil {
		return err
	}
	switch *value {
	case corev1.ServiceTrafficDistributionPreferSameZone:
		return fmt.Errorf("%w: before Kubernetes 1.34 its name is PreferClose: declare that until the API servers are newer", err)
	case corev1.ServiceTrafficDistributionPreferSameNode:
		return fmt.Errorf("%w: it needs Kubernetes 1.34: declare PreferClose, or leave it out, until the API servers are newer", err)
	}
	return err
}

// heldFields returns the fields that are ours after the write: those that are
// set now, and those that were set before and still are as we left them.
func heldFields(service *corev1.Service, outcome drift.Outcome) map[string]any {
	fields := map[string]any{}
	for _, record := range []state.Record{outcome.Record, outcome.Unrecorded} {
		for field, entry := range record {
			value, set := outcome.Set[field]
			if !set {
				value = plan.TrafficPolicy(service, field)
			}
			if value != nil && *value == entry.Applied {
				fields[field] = *value
			}
		}
	}
	return fields
}

// restore writes the originals that are no defaults, and returns the
// resourceVersion that the Service has then.
func restore(ctx context.Context, c client.Writer, service *corev1.Service, outcome drift.Outcome) (string, error) {
	spec := map[string]any{}
	for field, value := range outcome.Set {
		_, held := outcome.Record[field]
		_, unrecorded := outcome.Unrecorded[field]
		if !held && !unrecorded && value != nil && *value != drift.DefaultPolicy(field) {
			spec[field] = *value
		}
	}
	if len(spec) == 0 {
		return service.ResourceVersion, nil
	}
	body, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": service.UID, "resourceVersion": service.ResourceVersion},
		"spec":     spec,
	})
	if err != nil {
		return "", fmt.Errorf("writing the patch of service %s/%s: %w", service.Namespace, service.Name, err)
	}
	target := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: service.Namespace, Name: service.Name}}
	patch := client.RawPatch(types.MergePatchType, body)
	if err := c.Patch(ctx, target, patch, client.FieldOwner(v1alpha1.FieldManagerServices)); err != nil {
		return "", err
	}
	return target.ResourceVersion, nil
}
