// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// The API server accepts the chart's output with every option on, without unknown or duplicate fields.
// It knows no ServiceMonitor and no PrometheusRule, and knows policies only after their definition.
func TestAPIServerAcceptsEveryOption(t *testing.T) {
	const other = "cpnp-every-option"
	g, ctx := gomega(t), t.Context()
	for _, name := range []string{other, "cpnp-every-probe", "cpnp-every-snapshot"} {
		created := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		g.Expect(client.IgnoreAlreadyExists(admin.Create(ctx, created))).To(Succeed())
	}
	out, err := runHelm(ctx, "template", release, chart, "--namespace", other, "--values", "testdata/every-option.yaml")
	g.Expect(err).NotTo(HaveOccurred(), out)
	kinds := map[string]bool{}
	for _, document := range strings.Split("\n"+out, "\n---\n") {
		object := &unstructured.Unstructured{}
		g.Expect(yaml.UnmarshalStrict([]byte(document), &object.Object)).To(Succeed(), document)
		if len(object.Object) == 0 {
			continue
		}
		kinds[object.GetKind()] = true
		if slices.Contains([]string{"ServiceMonitor", "PrometheusRule", "ControlPlaneNetworkPolicy"}, object.GetKind()) {
			continue
		}
		apply := cluster.Kubectl(ctx, "apply", "--server-side", "--dry-run=server", "--validate=strict", "--field-manager=every-option", "-f", "-")
		apply.Stdin = strings.NewReader(document)
		answer, err := apply.CombinedOutput()
		g.Expect(err).NotTo(HaveOccurred(), "%s\n%s", answer, document)
	}
	for _, kind := range []string{
		"ConfigMap", "CronJob", "CustomResourceDefinition", "DaemonSet", "Deployment", "Job", "Lease", "PodDisruptionBudget", "ServiceMonitor", "PrometheusRule",
		"ValidatingAdmissionPolicy", "ControlPlaneNetworkPolicy",
	} {
		g.Expect(kinds).To(HaveKey(kind))
	}
}
