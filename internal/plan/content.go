// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan/calico"
)

// Object is an object that the operator creates.
type Object = calico.Object

// Content returns what is written of an object that the operator creates.
func Content(object Object) (map[string]any, error) {
	if _, kubernetes := object.(*networkingv1.NetworkPolicy); !kubernetes {
		return calico.WrittenContent(object)
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return nil, fmt.Errorf("rendering %s/%s: %w", object.GetNamespace(), object.GetName(), err)
	}
	return content, nil
}

// Fields returns the fields of an object's spec, each of which is written, and
// compared, as a whole.
func Fields(object Object) (map[string]any, error) {
	content, err := Content(object)
	if err != nil {
		return nil, err
	}
	spec, _ := content["spec"].(map[string]any)
	return spec, nil
}

// Shared says that the operator creates an object where there is none, but that
// it may also be somebody else's: then only single fields of it are ours.
func Shared(object Object) bool {
	_, felix := object.(*v3.FelixConfiguration)
	return felix
}

// Written says whether the operator wrote an object that is there.
func Written(live Object) bool {
	return slices.ContainsFunc(live.GetManagedFields(), func(entry metav1.ManagedFieldsEntry) bool {
		return entry.Manager == v1alpha1.FieldManagerNetwork
	})
}

// Stamp notes on an object what it is rendered as, and by which version.
func Stamp(object Object) error {
	fields, err := Fields(object)
	if err == nil {
		stamp(object, fields)
	}
	return err
}

func stamp(object Object, spec any) {
	object.SetAnnotations(map[string]string{
		v1alpha1.AnnotationDesiredHash:     hashOf(object, spec),
		v1alpha1.AnnotationRendererVersion: RendererVersion,
	})
}

func hashOf(object Object, spec any) string {
	labels := maps.Clone(object.GetLabels())
	maps.DeleteFunc(labels, func(key, _ string) bool { return !OwnLabel(key) })
	return Hash(struct{ Labels, Spec any }{labels, spec})
}

// OwnLabel says whether a label is one of the operator's: those of others, such as
// projectcalico.org/tier, which Calico sets itself, are none of its business.
func OwnLabel(key string) bool { return strings.HasPrefix(key, v1alpha1.SchemeGroupVersion.Group+"/") }

// Stamped says whether an object is what its stamp says: exactly what the operator
// once wrote, whoever put it there again, such as from a backup.
func Stamped(object Object) bool {
	hash := object.GetAnnotations()[v1alpha1.AnnotationDesiredHash]
	if hash == "" {
		return false
	}
	if policy, kubernetes := object.(*networkingv1.NetworkPolicy); kubernetes {
		return hash == hashOf(object, policy.Spec)
	}
	fields, err := Fields(object)
	return err == nil && hash == hashOf(object, fields)
}
