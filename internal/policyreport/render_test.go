// SPDX-License-Identifier: Apache-2.0

package policyreport

import (
	"fmt"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

var (
	now   = metav1.NewTime(time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC))
	since = metav1.NewTime(now.Add(-time.Hour))
)

func condition(kind string, status metav1.ConditionStatus, reason string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: status, Reason: reason, Message: "m", LastTransitionTime: since}
}

// policyWith returns a policy with a condition, two findings and a difference.
func policyWith(conditions ...metav1.Condition) *v1alpha1.ControlPlaneNetworkPolicy {
	policy := &v1alpha1.ControlPlaneNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "plane", UID: "uid"}}
	policy.Status.Conditions = conditions
	policy.Status.Posture = &v1alpha1.PostureStatus{FindingCount: ptr.To(int32(2)), Findings: []v1alpha1.Finding{
		{Check: "tls-version", Severity: v1alpha1.SeverityHigh, Node: "cp-1", Component: "kubelet", Message: "accepts TLS 1.1", Controls: []string{"A 1", "B 2"}},
		{Check: "tls-certificate-expiring", Severity: v1alpha1.SeverityLow, Node: "cp-1", Component: "etcd", Message: "expires in 9 days"},
	}}
	policy.Status.DriftedObjects = ptr.To(int32(1))
	policy.Status.Drift = []v1alpha1.Drift{{
		Kind: "Service", Namespace: "default", Name: "web", Field: "spec.externalTrafficPolicy", Cause: v1alpha1.CauseModified,
		State: v1alpha1.StateDrifted, Manager: "kubectl-edit",
	}}
	return policy
}

func TestConditionsBecomeOutcomes(t *testing.T) {
	for _, c := range []struct {
		condition metav1.Condition
		want      string
	}{
		{condition(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonAsDeclared), pass},
		{condition(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonAudited), pass},
		{condition(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonSuspended), skip},
		{condition(v1alpha1.ConditionReady, metav1.ConditionUnknown, v1alpha1.ReasonObserving), failed},
		{condition(v1alpha1.ConditionVerified, metav1.ConditionTrue, v1alpha1.ReasonOverridden), warn},
		{condition(v1alpha1.ConditionVerified, metav1.ConditionFalse, v1alpha1.ReasonRequiredFlowCut), fail},
		{condition(v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonAudit), skip},
		{condition(v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonPending), warn},
		{condition(v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonApplyFailed), fail},
		{condition(v1alpha1.ConditionEffective, metav1.ConditionTrue, v1alpha1.ReasonNotDeclared), skip},
		{condition(v1alpha1.ConditionEffective, metav1.ConditionUnknown, v1alpha1.ReasonNotJudged), failed},
		{condition(v1alpha1.ConditionDrifted, metav1.ConditionTrue, v1alpha1.ReasonDrifted), fail},
		{condition(v1alpha1.ConditionDrifted, metav1.ConditionFalse, v1alpha1.ReasonNoDrift), pass},
		{condition(v1alpha1.ConditionTLSCompliant, metav1.ConditionUnknown, v1alpha1.ReasonNotApplicable), skip},
		{condition(v1alpha1.ConditionTLSCompliant, metav1.ConditionUnknown, v1alpha1.ReasonNotProbed), failed},
		{condition(v1alpha1.ConditionBackupFresh, metav1.ConditionFalse, v1alpha1.ReasonStale), fail},
	} {
		r, is := ofCondition(c.condition)
		g := NewWithT(t)
		g.Expect(is).To(BeTrue())
		g.Expect(r.Result).To(Equal(c.want), "%s/%s", c.condition.Type, c.condition.Reason)
		g.Expect(r.Scored).To(Equal(c.want == pass || c.want == fail))
	}
	for _, kind := range []string{v1alpha1.ConditionReconciling, v1alpha1.ConditionStalled, "Foreign"} {
		_, is := ofCondition(condition(kind, metav1.ConditionTrue, "x"))
		NewWithT(t).Expect(is).To(BeFalse(), kind)
	}
}

func TestResultsOfAPolicy(t *testing.T) {
	g := NewWithT(t)
	before := map[string]metav1.Timestamp{"Finding/tls-version/cp-1/kubelet//": {Seconds: 77}}
	results := resultsOf(policyWith(condition(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonAsDeclared)), before, now)
	at := func(t metav1.Time) metav1.Timestamp { return metav1.Timestamp{Seconds: t.Unix()} }
	node := []corev1.ObjectReference{{APIVersion: "v1", Kind: "Node", Name: "cp-1"}}
	g.Expect(results).To(Equal([]result{
		{
			Source: "cpnp", Policy: "plane", Rule: "Ready", Category: "Condition", Severity: v1alpha1.SeverityMedium, Timestamp: at(since),
			Result: pass, Scored: true, Message: "m", Properties: map[string]string{"reason": "AsDeclared"},
		},
		{
			Source: "cpnp", Policy: "plane", Rule: "tls-version", Category: "Finding", Severity: v1alpha1.SeverityHigh, Timestamp: metav1.Timestamp{Seconds: 77},
			Result: fail, Scored: true, Subjects: node, Message: "accepts TLS 1.1",
			Properties: map[string]string{"node": "cp-1", "component": "kubelet", "controls": "A 1; B 2"},
		},
		{
			Source: "cpnp", Policy: "plane", Rule: "tls-certificate-expiring", Category: "Finding", Severity: v1alpha1.SeverityLow, Timestamp: at(now),
			Result: warn, Subjects: node, Message: "expires in 9 days", Properties: map[string]string{"node": "cp-1", "component": "etcd"},
		},
		{
			Source: "cpnp", Policy: "plane", Rule: "drift", Category: "Drift", Severity: v1alpha1.SeverityMedium, Timestamp: at(now),
			Result: fail, Scored: true, Subjects: []corev1.ObjectReference{{Kind: "Service", Namespace: "default", Name: "web"}},
			Message:    "Service default/web, field spec.externalTrafficPolicy is modified, by kubectl-edit",
			Properties: map[string]string{"reason": "Drifted", "object": "Service default/web", "field": "spec.externalTrafficPolicy"},
		},
	}))
	g.Expect(countOutcomes(results)).To(Equal(summary{Pass: 1, Fail: 2, Warn: 1}))
}

// Drift that is among the findings is not reported twice.
func TestDriftIsReportedOnce(t *testing.T) {
	g := NewWithT(t)
	policy := policyWith()
	policy.Status.Posture.Findings[0].Check = "drift"
	for _, r := range resultsOf(policy, nil, now) {
		g.Expect(r.Category).NotTo(Equal(categoryDrift))
	}
}

func TestReportIsBounded(t *testing.T) {
	g := NewWithT(t)
	policy := policyWith(condition(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonAsDeclared))
	policy.Status.Posture.FindingCount = ptr.To(int32(40))
	policy.Status.DriftedObjects = ptr.To(int32(11))
	results := resultsOf(policy, nil, now)
	last := results[len(results)-1]
	g.Expect(last.Rule).To(Equal(ruleMore))
	g.Expect(last.Message).To(HavePrefix("48 further findings left out"), "38 findings and 10 objects")

	for _, c := range []struct{ findings, more, want int }{
		{61, 0, 63}, {62, 0, 64}, {63, 0, 64}, {61, 1, 64}, {62, 1, 64}, // beside a condition and drift
	} {
		policy.Status.Posture.Findings = make([]v1alpha1.Finding, c.findings)
		policy.Status.Posture.FindingCount = ptr.To(int32(c.findings + c.more))
		policy.Status.DriftedObjects = nil
		results := resultsOf(policy, nil, now)
		g.Expect(results).To(HaveLen(c.want), "%d findings, %d more", c.findings, c.more)
		g.Expect(results[len(results)-1].Rule == ruleMore).To(Equal(c.findings+2+c.more > maxResults || c.more > 0), "%d findings, %d more", c.findings, c.more)
	}

	policy.Status.Posture.FindingCount, policy.Status.DriftedObjects = ptr.To(int32(40)), ptr.To(int32(11))
	policy.Status.Posture.Findings = nil
	for i := range 500 { // more than the API allows
		policy.Status.Posture.Findings = append(policy.Status.Posture.Findings, v1alpha1.Finding{
			Check: "x", Severity: v1alpha1.SeverityHigh, Node: fmt.Sprint(i), Message: strings.Repeat("\u202e", 9999),
		})
	}
	results = resultsOf(policy, nil, now)
	g.Expect(results).To(HaveLen(maxResults))
	g.Expect(results[maxResults-1].Message).To(HavePrefix("449 further findings left out"), "62 of 501 results of findings and drift are listed, and 10 more objects drift")
	for _, r := range results {
		g.Expect(len(r.Message)).To(BeNumerically("<=", maxMessage))
	}
}

// A digest changes with the content of a report, and not with the time at which a finding was rendered.
func TestDigestFollowsTheContent(t *testing.T) {
	g := NewWithT(t)
	policy := policyWith(condition(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonAsDeclared))
	digest := digestOf(resultsOf(policy, nil, now))
	g.Expect(digestOf(resultsOf(policy, nil, metav1.NewTime(now.Add(time.Hour))))).To(Equal(digest))
	for name, change := range map[string]func(){
		"a message":       func() { policy.Status.Conditions[0].Message = "other" },
		"a status":        func() { policy.Status.Conditions[0].Status = metav1.ConditionFalse },
		"a transition":    func() { policy.Status.Conditions[0].LastTransitionTime = now },
		"a finding":       func() { policy.Status.Posture.Findings[0].Message = "other" },
		"a severity":      func() { policy.Status.Posture.Findings[0].Severity = v1alpha1.SeverityCritical },
		"a control":       func() { policy.Status.Posture.Findings[0].Controls = []string{"C"} },
		"a manager":       func() { policy.Status.Drift[0].Manager = "x" },
		"further finding": func() { policy.Status.Posture.FindingCount = ptr.To(int32(3)) },
	} {
		policy = policyWith(condition(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonAsDeclared))
		change()
		g.Expect(digestOf(resultsOf(policy, nil, now))).NotTo(Equal(digest), name)
	}
}

func TestRender(t *testing.T) {
	g := NewWithT(t)
	policy := policyWith(condition(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonAsDeclared))
	for _, of := range kinds {
		report, err := render(of, policy, resultsOf(policy, nil, now))
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(report.GroupVersionKind()).To(Equal(of.GroupVersionKind))
		g.Expect(report.GetName()).To(Equal("cpnp-plane"))
		g.Expect(report.GetLabels()).To(HaveKeyWithValue(v1alpha1.LabelPolicy, "plane"))
		g.Expect(report.GetOwnerReferences()).To(HaveExactElements(HaveField("UID", BeEquivalentTo("uid"))))
		g.Expect(report.Object["summary"]).To(Equal(map[string]any{"pass": int64(1), "fail": int64(2), "warn": int64(1), "error": int64(0), "skip": int64(0)}))
		g.Expect(report.Object["source"] != nil).To(Equal(of.hasSource))
		g.Expect(isAsRendered(report.DeepCopy(), report)).To(BeTrue())
		changed := report.DeepCopy()
		changed.SetOwnerReferences(nil)
		g.Expect(isAsRendered(changed, report)).To(BeFalse())
		g.Expect(timesOf(report)).To(HaveKeyWithValue("Finding/tls-version/cp-1/kubelet//", timestampOf(now)))
		report.Object["results"] = "hostile"
		g.Expect(timesOf(report)).To(BeEmpty())
	}
}
