// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// writeItem applies an observer's own item of status.observers. Items of other observers and
// the rest of the status stay unchanged. item is a pointer to the observation.
func writeItem(ctx context.Context, c client.Client, kind, name, observer string, item any) error {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(item)
	if err != nil {
		return fmt.Errorf("rendering the observation of %s: %w", name, err)
	}
	object := &unstructured.Unstructured{Object: map[string]any{"status": map[string]any{"observers": []any{content}}}}
	object.SetGroupVersionKind(v1alpha1.SchemeGroupVersion.WithKind(kind))
	object.SetName(name)
	if err := c.Status().Apply(ctx, client.ApplyConfigurationFromUnstructured(object),
		client.FieldOwner(FieldManager(observer)), client.ForceOwnership); err != nil {
		return fmt.Errorf("writing the observation of %s: %w", name, err)
	}
	return nil
}

// classifyWriteError returns the error to retry after a failed write. An object that is gone
// needs no answer; an object without room for another observer would refuse the write for
// ever.
func classifyWriteError(err error, logNoRoom func()) error {
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case apierrors.HasStatusCause(err, metav1.CauseType(field.ErrorTypeTooMany)):
		logNoRoom()
		return nil
	case apierrors.IsInvalid(err):
		return reconcile.TerminalError(err)
	}
	return err
}
