// SPDX-License-Identifier: Apache-2.0

package report_test

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/report"
	"github.com/cpnp-dev/cpnp-operator/test/crd"
)

// outcomeIn returns which of the three conditions of the verdict is True.
func outcomeIn(status v1alpha1.ControlPlaneNetworkPolicyStatus) string {
	for _, kind := range []string{v1alpha1.ConditionReconciling, v1alpha1.ConditionStalled, v1alpha1.ConditionReady} {
		if meta.IsStatusConditionTrue(status.Conditions, kind) {
			return kind
		}
	}
	return ""
}

func TestConditionsKeepTheirContractInEachScenario(t *testing.T) {
	for name, edits := range scenarios {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			status := statusOf(input(edits...))
			reconciling := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionReconciling)
			stalled := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionStalled)
			g.Expect(reconciling != nil && stalled != nil).To(BeFalse(), "Reconciling and Stalled exclude each other")
			for _, c := range []*metav1.Condition{reconciling, stalled} {
				if c != nil {
					g.Expect(c.Status).To(Equal(metav1.ConditionTrue), "%s is present only while True", c.Type)
					g.Expect(meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionReady)).To(BeFalse(), "%s excludes Ready")
				}
			}
			ready := meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionReady)
			g.Expect([]bool{ready, reconciling != nil, stalled != nil}).To(ConsistOf(true, false, false), "exactly one of the three conditions is True")
			for kind := range good {
				g.Expect(meta.FindStatusCondition(status.Conditions, kind)).NotTo(BeNil(), "%s is always present", kind)
			}
			for _, c := range status.Conditions {
				g.Expect(c.ObservedGeneration).To(BeEquivalentTo(3), c.Type)
				g.Expect(c.LastTransitionTime.Unix()).To(Equal(now.Unix()), c.Type)
				g.Expect(c.Message).NotTo(BeEmpty(), c.Type)
			}
			g.Expect(status.ObservedGeneration).To(BeEquivalentTo(3))
		})
	}
}

func TestReconcilingAndStalledAreRemovedWhenTheyEnd(t *testing.T) {
	g := NewWithT(t)
	for _, edits := range [][]edit{{taint(v1alpha1.StatePending)}, {noNodes}} {
		in := input()
		in.Policy.Status = statusOf(input(edits...))
		g.Expect(found(report.StatusOf(in).Conditions)).To(Equal(good))
	}
}

func TestASecondReportChangesNothing(t *testing.T) {
	for name, edits := range scenarios {
		t.Run(name, func(t *testing.T) {
			in := input(edits...)
			in.History.Last, in.History.LastTime = ptrTo(finding("Service", "web", "f", v1alpha1.StateDrifted)), now.Time
			in.Policy.Status = statusOf(in)
			in.Now = metav1.NewTime(now.Add(time.Hour))
			if diff := cmp.Diff(in.Policy.Status, stored(report.StatusOf(in))); diff != "" {
				t.Errorf("a second report would be written (-first +second):\n%s", diff)
			}
		})
	}
}

func TestTransitionTimeFollowsTheStatusAndNotTheReason(t *testing.T) {
	g := NewWithT(t)
	in := input(taint(v1alpha1.StatePending))
	in.Policy.Status = statusOf(in)
	later := input(taint(v1alpha1.StateDrifted))
	later.Policy.Status, later.Now = in.Policy.Status, metav1.NewTime(now.Add(time.Hour))
	status := report.StatusOf(later)
	g.Expect(meta.FindStatusCondition(status.Conditions, "Ready").LastTransitionTime.Unix()).To(Equal(now.Unix()))
	g.Expect(meta.FindStatusCondition(status.Conditions, "Drifted").LastTransitionTime.Unix()).To(Equal(later.Now.Unix()))
}

func TestReportDoesNotChangeItsInput(t *testing.T) {
	for name, edits := range scenarios {
		t.Run(name, func(t *testing.T) {
			in, before := input(edits...), input(edits...)
			in.Services.Findings = append(in.Services.Findings, finding("Service", "fought", "externalTrafficPolicy", v1alpha1.StateDrifted))
			before.Services.Findings = append(before.Services.Findings, finding("Service", "fought", "externalTrafficPolicy", v1alpha1.StateDrifted))
			in.Policy.Status, before.Policy.Status = statusOf(input()), statusOf(input())
			report.StatusOf(in)
			if diff := cmp.Diff(before.Services, in.Services); diff != "" {
				t.Errorf("findings (-before +after):\n%s", diff)
			}
			if diff := cmp.Diff(before.Policy.Status, in.Policy.Status); diff != "" {
				t.Errorf("status (-before +after):\n%s", diff)
			}
		})
	}
}

func TestAPIServerAcceptsEveryStatus(t *testing.T) {
	kinds, err := crd.Load("../../config/crd/bases")
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	accepts := func(t *testing.T, status v1alpha1.ControlPlaneNetworkPolicyStatus) {
		t.Helper()
		policy := input().Policy.DeepCopy()
		policy.APIVersion, policy.Kind = v1alpha1.SchemeGroupVersion.String(), "ControlPlaneNetworkPolicy"
		policy.Spec.Taints = []v1alpha1.Taint{{Key: "a", Effect: "NoSchedule"}}
		policy.Status = status
		object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(policy)
		NewWithT(t).Expect(err).NotTo(HaveOccurred())
		NewWithT(t).Expect(kinds.Check(object)).To(BeEmpty())
	}
	for name, edits := range scenarios {
		t.Run(name, func(t *testing.T) { accepts(t, report.StatusOf(input(edits...))) })
	}
	t.Run("too much of everything", func(t *testing.T) { accepts(t, report.StatusOf(input(tooMuch...))) })
	t.Run("unknown", func(t *testing.T) {
		accepts(t, report.UnknownStatus(input().Policy, errors.New(strings.Repeat("é", 2000)), now))
	})
}

func ptrTo[T any](value T) *T { return &value }

func TestEveryReasonIsDocumented(t *testing.T) {
	documented := documentedReasons(t)
	page, err := os.ReadFile("../../docs/status.md")
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	for name, edits := range scenarios {
		t.Run(name, func(t *testing.T) {
			for _, c := range statusOf(input(edits...)).Conditions {
				g := NewWithT(t)
				if c.Type == v1alpha1.ConditionReady {
					g.Expect(string(page)).To(ContainSubstring("`"+c.Reason+"`"), "docs/status.md explains the reason")
				}
				if c.Type == v1alpha1.ConditionReady && c.Status != metav1.ConditionTrue {
					continue // reasons of the condition that prevents Ready
				}
				g.Expect(documented[c.Type][string(c.Status)]).To(ContainElement(c.Reason), "%s %s in api/v1alpha1/conditions.go", c.Type, c.Status)
			}
		})
	}
}

// documentedReasons reads the comments of the condition types: type → status → reasons.
func documentedReasons(t *testing.T) map[string]map[string][]string {
	t.Helper()
	g := NewWithT(t)
	file, err := parser.ParseFile(token.NewFileSet(), "../../api/v1alpha1/conditions.go", nil, parser.ParseComments)
	g.Expect(err).NotTo(HaveOccurred())
	line, word := regexp.MustCompile(`Reasons(?: when (True|False|Unknown))?: ([^.]*)\.`), regexp.MustCompile(`[A-Z]\w+`)
	documented := map[string]map[string][]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "Condition") {
			return true
		}
		reasons := map[string][]string{}
		for _, match := range line.FindAllStringSubmatch(spec.Doc.Text(), -1) {
			status := match[1]
			if status == "" {
				status = "True"
			}
			reasons[status] = word.FindAllString(match[2], -1)
		}
		documented[strings.TrimPrefix(spec.Names[0].Name, "Condition")] = reasons
		return true
	})
	g.Expect(documented).To(HaveLen(12))
	for _, reasons := range documented {
		documented["Stalled"]["True"] = slices.Concat(documented["Stalled"]["True"], reasons["False"], reasons["Unknown"])
	}
	documented["Stalled"]["True"] = append(documented["Stalled"]["True"], "Contested", "Conflicted", "NoQuorumToSpare")
	return documented
}
