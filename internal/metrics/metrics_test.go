// SPDX-License-Identifier: Apache-2.0

package metrics_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	registry "sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/intent"
	"github.com/cpnp-dev/cpnp-operator/internal/metrics"
)

// always are the metrics that have series even without a policy.
var always = []string{"cpnp_build_info", "cpnp_verification_duration_seconds", "cpnp_writes_total"}

// series returns the operator's series that depend on policies, as name{labels} value, sorted.
func series(t *testing.T) []string {
	t.Helper()
	families, err := registry.Registry.Gather()
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	var out []string
	for _, family := range families {
		if !strings.HasPrefix(family.GetName(), "cpnp_") || slices.Contains(always, family.GetName()) {
			continue
		}
		for _, m := range family.GetMetric() {
			var labels []string
			for _, label := range m.GetLabel() {
				labels = append(labels, label.GetName()+"="+label.GetValue())
			}
			value := m.GetCounter().GetValue() + m.GetGauge().GetValue() // one of them is 0
			out = append(out, fmt.Sprintf("%s{%s} %v", family.GetName(), strings.Join(labels, ","), value))
		}
	}
	slices.Sort(out)
	return out
}

func TestSeriesExistAsLongAsTheirPolicy(t *testing.T) {
	g := NewWithT(t)
	of := func(policy, kind, name string, state v1alpha1.DriftState) drift.Finding {
		return drift.Finding{
			Policy: policy, Object: drift.Object{Kind: kind, Name: name}, Cause: v1alpha1.CauseModified, State: state,
			By: drift.Manager{Name: "kubectl-edit"},
		}
	}
	findings := []drift.Finding{
		of("p", "Node", "cp-1", v1alpha1.StateDrifted), of("p", "Node", "cp-2", v1alpha1.StateDrifted), of("q", "Service", "web", v1alpha1.StateDrifted),
	}
	metrics.CountDetected(findings)
	g.Expect(series(t)).To(BeEmpty(), "the policies are unknown so far")
	metrics.SetPolicies([]string{"p", "q"})
	metrics.CountDetected(findings)
	metrics.CountCorrected(append(findings, of("p", "Node", "cp-3", v1alpha1.StatePending)))
	metrics.SetManaged("p", "Taint", 5)
	metrics.SetManaged("p", "Taint", 4)
	metrics.CountApplyError([]string{"p", "q"}, "Node", "Forbidden")
	g.Expect(series(t)).To(Equal([]string{
		"cpnp_apply_errors_total{kind=Node,policy=p,reason=Forbidden} 1",
		"cpnp_apply_errors_total{kind=Node,policy=q,reason=Forbidden} 1",
		"cpnp_drift_corrected_total{kind=Node,policy=p} 2",
		"cpnp_drift_corrected_total{kind=Service,policy=q} 1",
		"cpnp_drift_detected_total{cause=Modified,kind=Node,manager=kubectl,policy=p} 2",
		"cpnp_drift_detected_total{cause=Modified,kind=Service,manager=kubectl,policy=q} 1",
		"cpnp_managed_objects{kind=Taint,policy=p} 4",
	}), "there is no series per object, and a write of new intent is no repair")

	metrics.SetPolicies([]string{"q"})
	g.Expect(series(t)).To(HaveLen(3))
	g.Expect(series(t)).NotTo(ContainElement(ContainSubstring("policy=p")))
	metrics.SetPolicies(nil)
	g.Expect(series(t)).To(BeEmpty())
}

func TestInventedNamesMakeNoSeries(t *testing.T) {
	g := NewWithT(t)
	metrics.SetPolicies([]string{"p"})
	t.Cleanup(func() { metrics.SetPolicies(nil) })
	for i := range 2000 {
		name := fmt.Sprint("invented-", i)
		metrics.CountDetected([]drift.Finding{{Policy: name, Object: drift.Object{Kind: "Service"}, State: v1alpha1.StateDrifted}})
		metrics.CountCorrected([]drift.Finding{{Policy: name, Object: drift.Object{Kind: "Service"}, State: v1alpha1.StateDrifted}})
		metrics.CountApplyError([]string{name, "p"}, "Service", fmt.Sprint("what a webhook says ", i))
		metrics.SetManaged(name, "Service", 1)
		metrics.CountDetected([]drift.Finding{{Policy: "p", Object: drift.Object{Kind: "Service"}, By: drift.Manager{Name: name}}})
		metrics.RecordAttempt(metrics.Attempt{Component: "etcd", Observer: name, Result: name, Connect: 1})
		metrics.SetStatus(name, intent.Enforce, &v1alpha1.ControlPlaneNetworkPolicyStatus{Conditions: []metav1.Condition{{Type: "Ready", Status: "True"}}})
	}
	g.Expect(series(t)).To(HaveExactElements(
		"cpnp_apply_errors_total{kind=Service,policy=p,reason=Other} 2000",
		"cpnp_drift_detected_total{cause=,kind=Service,manager=other,policy=p} 2000",
	))
}
