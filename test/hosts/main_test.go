// SPDX-License-Identifier: Apache-2.0

// Package hosts tests the rendered rules for hosts on a real Calico: the API server accepts
// the rules, and Felix drops and accepts packets as declared.
package hosts

import (
	"context"
	"testing"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	render "github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/test/field"
)

func TestMain(m *testing.M) { field.RunTests(m) }

// applyObjects applies objects one after the other, as the operator would, and deletes the
// objects in the reverse order when the test ends.
func applyObjects(t *testing.T, hosts backend.Hosts) []*unstructured.Unstructured {
	t.Helper()
	g := NewWithT(t)
	objects, err := render.Render(hosts)
	g.Expect(err).NotTo(HaveOccurred())
	var written []*unstructured.Unstructured
	for _, object := range objects {
		// Rules of several versions may be written: the first test creates the tier, and
		// deletes the tier after all rules are gone.
		_, tier := object.(*v3.Tier)
		there := tier && field.Admin.Get(t.Context(), client.ObjectKeyFromObject(object), &v3.Tier{}) == nil
		written = append(written, applyObject(t, object))
		if !there {
			t.Cleanup(func() { removeObject(t, object) })
		}
	}
	return written
}

func applyObject(t *testing.T, object backend.Object) *unstructured.Unstructured {
	t.Helper()
	content, err := render.WrittenContent(object)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	u := &unstructured.Unstructured{Object: content}
	NewWithT(t).Expect(field.Admin.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(u),
		client.FieldOwner("cpnp.dev/network"), client.ForceOwnership)).To(Succeed(), object.GetName())
	return u
}

func removeObject(t *testing.T, object backend.Object) {
	t.Helper()
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(object.GetObjectKind().GroupVersionKind())
	u.SetName(object.GetName())
	NewWithT(t).Expect(client.IgnoreNotFound(field.Admin.Delete(context.Background(), u))).To(Succeed())
}

func withName(object client.Object, name string) client.Object {
	object.SetName(name)
	return object
}
