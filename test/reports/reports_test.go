// SPDX-License-Identifier: Apache-2.0

package reports

import (
	"context"
	"slices"
	"testing"

	. "github.com/onsi/gomega"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/controls"
	"github.com/cpnp-dev/cpnp-operator/internal/policyreport"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// kindOf names the kind under test.
type kindOf struct{ group, version, kind, plural, file string }

var (
	openReports = kindOf{"openreports.io", "v1alpha1", "ClusterReport", "clusterreports", "testdata/openreports.yaml"}
	wgPolicy    = kindOf{"wgpolicyk8s.io", "v1alpha2", "ClusterPolicyReport", "clusterpolicyreports", "testdata/wgpolicy.yaml"}
)

// The old kind comes first: once both kinds are served, the operator writes the new one.
func TestReports(t *testing.T) {
	t.Run("nothing is served", func(t *testing.T) {
		g := NewWithT(t)
		mark, writer := begin(t)
		g.Expect(writer.Write(t.Context(), createPolicy(t, "unserved"))).To(Succeed())
		g.Expect(usedRights(t, mark)).To(BeEmpty())
	})
	var used []string
	for _, of := range []kindOf{wgPolicy, openReports} {
		t.Run(of.kind, func(t *testing.T) { used = append(used, tryKind(t, of)...) })
	}
	// The granted rights are used, and sufficient.
	var granted []string
	var role rbacv1.ClusterRole
	g := NewWithT(t)
	g.Expect(admin.Get(t.Context(), client.ObjectKey{Name: "cpnp-reports-writer"}, &role)).To(Succeed())
	for _, rule := range role.Rules {
		for _, verb := range rule.Verbs {
			granted = append(granted, verb+" "+rule.APIGroups[0]+"/"+rule.Resources[0])
		}
	}
	slices.Sort(used)
	g.Expect(slices.Compact(used)).To(ConsistOf(granted))
}

// tryKind follows a report from its first write until its policy is deleted,
// and returns the rights that the operator used.
func tryKind(t *testing.T, of kindOf) []string {
	g, ctx := NewWithT(t), t.Context()
	_, err := envtest.InstallCRDs(cluster.Config, envtest.CRDInstallOptions{Paths: []string{of.file}, ErrorIfPathMissing: true})
	g.Expect(err).NotTo(HaveOccurred())
	policy := createPolicy(t, "plane-"+of.version)
	mark, writer := begin(t)
	g.Eventually(func() error { // a new role takes effect after a moment
		_, writer = begin(t)
		return writer.Write(ctx, policy)
	}, deadline, interval).Should(Succeed())

	report := readReport(g, of, policy.Name)
	g.Expect(report.Object["summary"]).To(Equal(map[string]any{"pass": int64(1), "fail": int64(1), "warn": int64(1), "error": int64(1), "skip": int64(0)}))
	results, _, _ := unstructured.NestedSlice(report.Object, "results")
	g.Expect(results).To(HaveLen(4))
	g.Expect(results[2]).To(HaveKeyWithValue("rule", "tls-client-certificate"))
	g.Expect(results[2]).To(HaveKeyWithValue("severity", "critical"))
	g.Expect(results[2]).To(HaveKeyWithValue("properties", HaveKeyWithValue("controls", ContainSubstring("CIS Kubernetes 2.2; DISA STIG Kubernetes V-242423"))))
	g.Expect(report.GetManagedFields()).To(HaveExactElements(HaveField("Manager", v1alpha1.FieldManagerReports)))

	quiet := setMark(t)
	for range 5 {
		g.Expect(writer.Write(ctx, policy)).To(Succeed())
	}
	g.Expect(requests(t, quiet)).To(BeEmpty(), "nothing has changed")
	_, restarted := begin(t)
	g.Expect(restarted.Write(ctx, policy)).To(Succeed())
	g.Expect(readReport(g, of, policy.Name).GetResourceVersion()).To(Equal(report.GetResourceVersion()), "an operator that starts writes nothing")

	policy.Status.Posture.Findings[0].Severity = v1alpha1.SeverityHigh
	g.Expect(writer.Write(ctx, policy)).To(Succeed())
	changed := readReport(g, of, policy.Name)
	g.Expect(changed.GetResourceVersion()).NotTo(Equal(report.GetResourceVersion()))
	before := results
	results, _, _ = unstructured.NestedSlice(changed.Object, "results")
	g.Expect(results[2]).To(HaveKeyWithValue("timestamp", before[2].(map[string]any)["timestamp"]), "the finding is as old as before")
	g.Expect(results[2]).To(HaveKeyWithValue("severity", "high"))
	used := usedRights(t, mark)

	g.Expect(admin.Delete(ctx, policy)).To(Succeed())
	g.Eventually(func() bool {
		return apierrors.IsNotFound(admin.Get(ctx, client.ObjectKeyFromObject(report), newReport(of)))
	}, deadline, interval).Should(BeTrue(), "the report outlives its policy")
	return used
}

// begin returns a writer with the operator's rights, and the end of the audit log.
func begin(t *testing.T) (testbed.Mark, *policyreport.Writer) {
	t.Helper()
	c, err := newClient(t.Context())
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return setMark(t), &policyreport.Writer{Client: c, Live: c}
}

func setMark(t *testing.T) testbed.Mark {
	t.Helper()
	mark, err := cluster.Audit().Mark()
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return mark
}

// requests returns the operator's requests for reports since a mark.
func requests(t *testing.T, mark testbed.Mark) []testbed.AuditEvent {
	t.Helper()
	logged, err := cluster.Audit().Since(mark)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return slices.DeleteFunc(logged, func(e testbed.AuditEvent) bool { return e.User != account || e.Resource == "" || e.Code == 403 })
}

func usedRights(t *testing.T, mark testbed.Mark) []string {
	t.Helper()
	return testbed.RightsUsed(requests(t, mark), account)
}

func newReport(of kindOf) *unstructured.Unstructured {
	report := &unstructured.Unstructured{}
	report.SetAPIVersion(of.group + "/" + of.version)
	report.SetKind(of.kind)
	return report
}

func readReport(g *WithT, of kindOf, policy string) *unstructured.Unstructured {
	report := newReport(of)
	g.Expect(admin.Get(context.Background(), client.ObjectKey{Name: "cpnp-" + policy}, report)).To(Succeed())
	return report
}

// createPolicy creates a policy, and returns the policy with a status.
func createPolicy(t *testing.T, name string) *v1alpha1.ControlPlaneNetworkPolicy {
	t.Helper()
	policy := &v1alpha1.ControlPlaneNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}}
	policy.Spec.NodeSelector.MatchLabels = map[string]v1alpha1.LabelValue{"node-role.kubernetes.io/control-plane": ""}
	policy.Spec.Taints = []v1alpha1.Taint{{Key: "node-role.kubernetes.io/control-plane", Effect: "NoSchedule"}}
	NewWithT(t).Expect(admin.Create(t.Context(), policy)).To(Succeed())
	t.Cleanup(func() { _ = admin.Delete(context.Background(), policy) })
	at := metav1.Now()
	policy.Status.Conditions = []metav1.Condition{
		{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonAudited, Message: "as asked", LastTransitionTime: at},
		{Type: v1alpha1.ConditionBackupFresh, Status: metav1.ConditionUnknown, Reason: v1alpha1.ReasonNoBackup, Message: "no backup", LastTransitionTime: at},
	}
	policy.Status.Posture = &v1alpha1.PostureStatus{FindingCount: ptr.To(int32(2)), Findings: []v1alpha1.Finding{
		{
			Check: controls.CheckClientCertificate, Severity: v1alpha1.SeverityCritical, Node: "cp-1", Component: "etcd", Message: "etcd demands no certificate",
			Controls: controls.Describe(controls.CheckClientCertificate, "etcd"),
		},
		{Check: controls.CheckCertificateExpiring, Severity: v1alpha1.SeverityLow, Node: "cp-1", Component: "kubelet", Message: "expires in 9 days"},
	}}
	return policy
}
