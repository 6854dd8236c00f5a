// SPDX-License-Identifier: Apache-2.0

// Package hosts tests what is rendered for hosts on a real Calico: its API
// server takes it, and its Felix drops and lets through what it says.
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

// write applies objects one after the other, as the operator would, and deletes
// them in the reverse order when the test ends.
func write(t *testing.T, hosts backend.Hosts) []*unstructured.Unstructured {
	t.Helper()
	g := NewWithT(t)
	objects, err := render.Render(hosts)
	g.Expect(err).NotTo(HaveOccurred())
	var written []*unstructured.Unstructured
	for _, object := range objects {
		// Rules of several versions may be written: whoever writes first makes the
		// tier, and takes it away when all of them are gone.
		_, tier := object.(*v3.Tier)
		there := tier && field.Admin.Get(t.Context(), client.ObjectKeyFromObject(object), &v3.Tier{}) == nil
		written = append(written, apply(t, object))
		if !there {
			t.Cleanup(func() { remove(t, object) })
		}
	}
	return written
}

func apply(t *testing.T, object backend.Object) *unstructured.Unstructured {
	t.Helper()
	content, err := render.WrittenContent(object)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	u := &unstructured.Unstructured{Object: content}
	NewWithT(t).Expect(field.Admin.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(u),
		client.FieldOwner("cpnp.dev/network"), client.ForceOwnership)).To(Succeed(), object.GetName())
	return u
}

func remove(t *testing.T, object backend.Object) {
	t.Helper()
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(object.GetObjectKind().GroupVersionKind())
	u.SetName(object.GetName())
	NewWithT(t).Expect(client.IgnoreNotFound(field.Admin.Delete(context.Background(), u))).To(Succeed())
}

func named(object client.Object, name string) client.Object {
	object.SetName(name)
	return object
}
