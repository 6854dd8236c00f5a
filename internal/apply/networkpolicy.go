// SPDX-License-Identifier: Apache-2.0

// Package apply holds the ways in which the operator writes: one for each kind
// of object, each exactly one request for one repair.
package apply

import (
	"context"
	"fmt"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// NetworkPolicy makes a NetworkPolicy as desired, with server-side apply: what
// others added to it beside our fields, such as labels, stays. live is what the
// decision was made on, nil if there was none; if it has changed since, the
// write is refused with a conflict.
func NetworkPolicy(ctx context.Context, c client.Writer, desired, live *networkingv1.NetworkPolicy) error {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(desired)
	if err != nil {
		return fmt.Errorf("rendering %s/%s: %w", desired.Namespace, desired.Name, err)
	}
	object := &unstructured.Unstructured{Object: content}
	if live != nil {
		object.SetUID(live.UID)
		object.SetResourceVersion(live.ResourceVersion)
		if err := clearUnexpected(object, desired, live); err != nil {
			return fmt.Errorf("rendering %s/%s: %w", desired.Namespace, desired.Name, err)
		}
	}
	return c.Apply(ctx, client.ApplyConfigurationFromUnstructured(object),
		client.FieldOwner(v1alpha1.FieldManagerNetwork), client.ForceOwnership)
}

// clearUnexpected claims the lists of rules that others added, as empty lists:
// an apply leaves alone what it does not mention.
func clearUnexpected(object *unstructured.Unstructured, desired, live *networkingv1.NetworkPolicy) error {
	if len(desired.Spec.Ingress) == 0 && len(live.Spec.Ingress) > 0 {
		if err := unstructured.SetNestedSlice(object.Object, []any{}, "spec", "ingress"); err != nil {
			return err
		}
	}
	if len(desired.Spec.Egress) == 0 && len(live.Spec.Egress) > 0 {
		return unstructured.SetNestedSlice(object.Object, []any{}, "spec", "egress")
	}
	return nil
}

// DeleteNetworkPolicy deletes a NetworkPolicy of ours, if it is still the one
// that was looked at.
func DeleteNetworkPolicy(ctx context.Context, c client.Writer, live *networkingv1.NetworkPolicy) error {
	precondition := client.Preconditions{UID: &live.UID, ResourceVersion: &live.ResourceVersion}
	object := &networkingv1.NetworkPolicy{}
	object.Namespace, object.Name = live.Namespace, live.Name
	return client.IgnoreNotFound(c.Delete(ctx, object, precondition))
}
