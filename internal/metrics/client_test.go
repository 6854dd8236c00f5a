// SPDX-License-Identifier: Apache-2.0

package metrics_test

import (
	"context"
	"errors"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	registry "sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/cpnp-dev/cpnp-operator/internal/metrics"
)

// writesOf returns how many writes of a kind had a result.
func writesOf(g *WithT, kind, result string) (count float64) {
	families, err := registry.Registry.Gather()
	g.Expect(err).NotTo(HaveOccurred())
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == "cpnp_writes_total" && m.GetLabel()[0].GetValue() == kind && m.GetLabel()[1].GetValue() == result {
				count = m.GetCounter().GetValue()
			}
		}
	}
	return count
}

func TestEveryWayToWriteIsCounted(t *testing.T) {
	ctx := t.Context()
	var answer error
	c := metrics.CountWrites(interceptor.NewClient(fake.NewClientBuilder().Build(), interceptor.Funcs{
		Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error { return answer },
		Update: func(context.Context, client.WithWatch, client.Object, ...client.UpdateOption) error { return answer },
		Delete: func(context.Context, client.WithWatch, client.Object, ...client.DeleteOption) error { return answer },
		Patch: func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
			return answer
		},
		Apply: func(context.Context, client.WithWatch, runtime.ApplyConfiguration, ...client.ApplyOption) error {
			return answer
		},
		SubResourceUpdate: func(context.Context, client.Client, string, client.Object, ...client.SubResourceUpdateOption) error {
			return answer
		},
		SubResourcePatch: func(context.Context, client.Client, string, client.Object, client.Patch, ...client.SubResourcePatchOption) error {
			return answer
		},
		SubResourceApply: func(context.Context, client.Client, string, runtime.ApplyConfiguration, ...client.SubResourceApplyOption) error {
			return answer
		},
	}))
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "cp-1"}}
	applied := func() runtime.ApplyConfiguration {
		object := &unstructured.Unstructured{Object: map[string]any{}}
		object.SetAPIVersion("v1")
		object.SetKind("Node")
		object.SetName("cp-1")
		return client.ApplyConfigurationFromUnstructured(object)
	}
	patch := client.RawPatch("application/merge-patch+json", []byte("{}"))
	ways := map[string]func() error{
		"create":        func() error { return c.Create(ctx, node) },
		"update":        func() error { return c.Update(ctx, node) },
		"patch":         func() error { return c.Patch(ctx, node, patch) },
		"delete":        func() error { return c.Delete(ctx, node) },
		"apply":         func() error { return c.Apply(ctx, applied()) },
		"update status": func() error { return c.Status().Update(ctx, node) },
		"patch status":  func() error { return c.Status().Patch(ctx, node, patch) },
		"apply status":  func() error { return c.Status().Apply(ctx, applied()) },
	}
	nodes := schema.GroupResource{Resource: "nodes"}
	results := map[string]error{
		"Success":    nil,
		"Conflict":   apierrors.NewConflict(nodes, "cp-1", nil),
		"Refused":    apierrors.NewForbidden(nodes, "cp-1", nil),
		"Unanswered": errors.New("connection refused"),
	}
	for way, write := range ways {
		t.Run(way, func(t *testing.T) {
			g := NewWithT(t)
			for result, err := range results {
				before := writesOf(g, "Node", result)
				answer = err
				if err == nil {
					g.Expect(write()).To(Succeed())
				} else {
					g.Expect(write()).To(MatchError(err))
				}
				g.Expect(writesOf(g, "Node", result)).To(Equal(before+1), result)
			}
		})
	}
}
