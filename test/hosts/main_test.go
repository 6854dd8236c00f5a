// SPDX-License-Identifier: Apache-2.0

// Package hosts tests what is rendered for hosts on a real Calico: its API
// server takes it, and its Felix drops and lets through what it says.
package hosts

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/go-logr/logr"
	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/internal/options"
	render "github.com/cpnp-dev/cpnp-operator/internal/plan/calico"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
)

var (
	cluster   *testbed.ControlPlane
	installed *calico.Calico
	admin     client.Client

	operatorConfig *rest.Config
)

// suite installs Calico between the start of the cluster and the tests.
type suite struct{ m *testing.M }

func (s suite) Run() (code int) {
	var err error
	if installed, err = calico.Start(context.Background(), cluster, calico.Options{}); err == nil {
		defer func() {
			if err := installed.Stop(); err != nil {
				fmt.Fprintln(os.Stderr, "stopping Calico:", err)
				code = max(code, 1)
			}
		}()
		admin, err = client.New(options.Unthrottled(cluster.Config), client.Options{Scheme: options.Scheme()})
	}
	if err == nil {
		operatorConfig, err = cluster.AddOperator(context.Background(), "cpnp-operator", "../../config/rbac/role.yaml")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "installing Calico:", err)
		return 1
	}
	return s.m.Run()
}

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	os.Exit(testbed.Run(suite{m}, testbed.Options{Aggregation: true, CRDPaths: []string{"../../config/crd/bases"}}, &cluster))
}

// write applies objects one after the other, as the operator would, and deletes
// them in the reverse order when the test ends.
func write(t *testing.T, hosts render.Hosts) []*unstructured.Unstructured {
	t.Helper()
	g := NewWithT(t)
	objects, err := render.Render(hosts)
	g.Expect(err).NotTo(HaveOccurred())
	var written []*unstructured.Unstructured
	for _, object := range objects {
		// Rules of several versions may be written: whoever writes first makes the
		// tier, and takes it away when all of them are gone.
		_, tier := object.(*v3.Tier)
		there := tier && admin.Get(t.Context(), client.ObjectKeyFromObject(object), &v3.Tier{}) == nil
		written = append(written, apply(t, object))
		if !there {
			t.Cleanup(func() { remove(t, object) })
		}
	}
	return written
}

func apply(t *testing.T, object render.Object) *unstructured.Unstructured {
	t.Helper()
	content, err := render.Content(object)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	u := &unstructured.Unstructured{Object: content}
	NewWithT(t).Expect(admin.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(u),
		client.FieldOwner("cpnp.dev/network"), client.ForceOwnership)).To(Succeed(), object.GetName())
	return u
}

func remove(t *testing.T, object render.Object) {
	t.Helper()
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(object.GetObjectKind().GroupVersionKind())
	u.SetName(object.GetName())
	NewWithT(t).Expect(client.IgnoreNotFound(admin.Delete(context.Background(), u))).To(Succeed())
}
