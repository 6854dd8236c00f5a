// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"maps"
	"slices"
	"testing"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// Objects that an earlier version has stored can be read and written after an upgrade of the definitions: an
// object that the operator cannot decode ends the watch of its kind, and a policy that cannot be written cannot
// lose its finalizer. testdata/earlier has every earlier content of testdata/accepted and of config/samples.
func TestObjectsOfEarlierVersionsCanBeWritten(t *testing.T) {
	kinds, scheme, earlier := kinds(t), runtime.NewScheme(), documents(t, "testdata/earlier/*.yaml")
	NewWithT(t).Expect(v1alpha1.AddToScheme(scheme)).To(Succeed())
	NewWithT(t).Expect(len(earlier)).To(BeNumerically(">=", 17))
	for _, name := range slices.Sorted(maps.Keys(earlier)) {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			stored, err := kinds.Upgrade([]byte(earlier[name]))
			g.Expect(err).NotTo(HaveOccurred())
			typed, err := scheme.New(v1alpha1.SchemeGroupVersion.WithKind(stored["kind"].(string)))
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(runtime.DefaultUnstructuredConverter.FromUnstructured(stored, typed)).To(Succeed())

			object := &unstructured.Unstructured{Object: runtime.DeepCopyJSON(stored)}
			object.SetFinalizers([]string{v1alpha1.Finalizer})
			object.SetAnnotations(map[string]string{v1alpha1.AnnotationRevert: "an upgrade went wrong"})
			g.Expect(kinds.Change(object.Object, stored)).To(BeEmpty(), "metadata")
			object.Object["status"] = map[string]any{}
			g.Expect(kinds.Change(object.Object, stored)).To(BeEmpty(), "status")
		})
	}
}
