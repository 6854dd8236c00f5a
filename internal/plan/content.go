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

// Content returns the content that the operator writes for an object.
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

// Fields returns the fields of an object's spec. The operator writes and compares each
// field as a whole.
func Fields(object Object) (map[string]any, error) {
	content, err := Content(object)
	if err != nil {
		return nil, err
	}
	spec, _ := content["spec"].(map[string]any)
	return spec, nil
}

// Shared tells whether an object may also be foreign. The operator creates a missing Felix
// configuration, but manages only single fields of an existing one.
func Shared(object Object) bool {
	_, felix := object.(*v3.FelixConfiguration)
	return felix
}

// Written tells whether the operator has written the live object.
func Written(live Object) bool {
	return slices.ContainsFunc(live.GetManagedFields(), func(entry metav1.ManagedFieldsEntry) bool {
		return entry.Manager == v1alpha1.FieldManagerNetwork
	})
}

// Stamp annotates an object with the hash of its content and with the renderer's version.
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

// OwnLabel tells whether the operator manages a label. Foreign labels, such as
// projectcalico.org/tier, which Calico sets, are not compared.
func OwnLabel(key string) bool { return strings.HasPrefix(key, v1alpha1.SchemeGroupVersion.Group+"/") }

// Stamped tells whether an object still matches its stamp. A match proves that the operator
// once wrote the same content, even if another writer has restored the object, such as from
// a backup.
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
