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

// WriteService writes the outcome to a Service, with server-side apply of the claimed
// fields and the record.
//
// The apply is forced: the outcome already respects every field that another manager
// declares, judged by the managedFields of the same resourceVersion that the request
// contains. If a manager declared the field in between, or the Service was deleted, the
// write is refused with a conflict.
//
// A restored field gets the default when the apply leaves the field out. If the
// original is not the default, a separate request writes the original first.
func WriteService(ctx context.Context, c client.Writer, service *corev1.Service, outcome drift.Outcome) error {
	version, err := restoreOriginals(ctx, c, service, outcome)
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
		return explainRefusal(err, outcome)
	}
	answer := &corev1.Service{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, answer); err != nil {
		return fmt.Errorf("reading the answer of the API server about service %s/%s: %w", service.Namespace, service.Name, err)
	}
	if len(outcome.Record) == 0 && answer.Annotations[v1alpha1.AnnotationRecord] != "" {
		return dropRecord(ctx, c, answer)
	}
	// A restored field may keep the value: other managers may own the field too.
	set := map[string]*string{}
	for field, value := range held {
		text := fmt.Sprint(value)
		set[field] = &text
	}
	stored := func(field string) *string { return plan.TrafficPolicy(answer, field) }
	return checkStoredFields(set, stored, checkStoredRecord(answer, outcome.Record)...)
}

// dropRecord removes the record if an apply without the record left the annotation in
// place. The annotation stays if another manager has applied the Service with a copy of
// the annotation, and so owns the annotation too. The copy is outdated.
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
	return checkStoredFields(nil, nil, checkStoredRecord(target, nil)...)
}

// explainRefusal adds to a refusal which values of trafficDistribution an older API
// server accepts (Kubernetes' feature gate PreferSameTrafficDistribution).
func explainRefusal(err error, outcome drift.Outcome) error {
	value := outcome.Set[plan.TrafficDistribution]
	if !apierrors.IsInvalid(err) || value == nil {
		return err
	}
	switch *value {
	case corev1.ServiceTrafficDistributionPreferSameZone:
		return fmt.Errorf("%w: before Kubernetes 1.34 the value is named PreferClose: "+
			"declare PreferClose until all API servers run Kubernetes 1.34", err)
	case corev1.ServiceTrafficDistributionPreferSameNode:
		return fmt.Errorf("%w: the value needs Kubernetes 1.34: "+
			"declare PreferClose, or no value, until all API servers run Kubernetes 1.34", err)
	}
	return err
}

// heldFields returns the fields that the operator manages after the write: the fields
// set now, and the fields set earlier that still have the applied value.
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

// restoreOriginals writes the originals that differ from the defaults, and returns the
// new resourceVersion of the Service.
func restoreOriginals(ctx context.Context, c client.Writer, service *corev1.Service, outcome drift.Outcome) (string, error) {
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
