// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"maps"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
)

// Object is an object that the operator creates.
type Object = backend.Object

// WrittenContent returns the content that the operator writes for an object.
func WrittenContent(object Object) (map[string]any, error) {
	if kinds, ours := backend.KindsOf(object); ours {
		return kinds.Content(object)
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return nil, fmt.Errorf("rendering %s/%s: %w", object.GetNamespace(), object.GetName(), err)
	}
	return content, nil
}

// SpecFields returns the fields of an object's spec. The operator writes and compares each
// field as a whole.
func SpecFields(object Object) (map[string]any, error) {
	if policy, kubernetes := object.(*networkingv1.NetworkPolicy); kubernetes {
		return specOf(policy)
	}
	content, err := WrittenContent(object)
	if err != nil {
		return nil, err
	}
	spec, _ := content["spec"].(map[string]any)
	return spec, nil
}

// specOf renders the spec alone: metadata, above all managedFields, is the larger part of most
// NetworkPolicies.
func specOf(policy *networkingv1.NetworkPolicy) (map[string]any, error) {
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&policy.Spec)
	if err != nil {
		return nil, fmt.Errorf("rendering the spec of %s/%s: %w", policy.Namespace, policy.Name, err)
	}
	return fields, nil
}

// IsShared tells whether other managers may own other fields of an object.
func IsShared(object Object) bool { return backend.TraitsOf(object).Shared }

// Stamp annotates an object with the hash of its content and with the renderer's version.
func Stamp(object Object) error {
	fields, err := SpecFields(object)
	if err == nil {
		setStamp(object, fields)
	}
	return err
}

func setStamp(object Object, spec any) {
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

// MatchesStamp tells whether an object still matches its stamp. A match proves that the operator
// once wrote the same content, even if another writer has restored the object, such as from
// a backup.
func MatchesStamp(object Object) bool {
	hash := object.GetAnnotations()[v1alpha1.AnnotationDesiredHash]
	if hash == "" {
		return false
	}
	if policy, kubernetes := object.(*networkingv1.NetworkPolicy); kubernetes {
		return hash == hashOf(object, policy.Spec)
	}
	fields, err := SpecFields(object)
	return err == nil && hash == hashOf(object, fields)
}
