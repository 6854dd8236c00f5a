// SPDX-License-Identifier: Apache-2.0

package verdict_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/internal/verdict"
)

func TestOutcomeDecidesWhichConditionsArePresent(t *testing.T) {
	tests := map[string]struct {
		verdict                     verdict.Verdict
		ready, reconciling, stalled string
	}{
		"settled":     {verdict.Verdict{Outcome: verdict.Settled, Reason: "A"}, "True/A", "/", "/"},
		"in progress": {verdict.Verdict{Outcome: verdict.InProgress, Reason: "A"}, "False/A", "True/A", "/"},
		"in progress, with the work": {
			verdict.Verdict{Outcome: verdict.InProgress, Reason: "A", Work: verdict.Work{Reason: "B"}}, "False/A", "True/B", "/",
		},
		"in progress, unknown": {verdict.Verdict{Outcome: verdict.InProgress, Reason: "A", Unknown: true}, "Unknown/A", "True/A", "/"},
		"stalled":              {verdict.Verdict{Outcome: verdict.Stalled, Reason: "A"}, "False/A", "/", "True/A"},
		"stalled, unknown":     {verdict.Verdict{Outcome: verdict.Stalled, Reason: "A", Unknown: true}, "Unknown/A", "/", "True/A"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			ready, reconciling, stalled := test.verdict.ToConditions()
			g.Expect([]string{brief(ready), brief(reconciling), brief(stalled)}).To(Equal([]string{test.ready, test.reconciling, test.stalled}))
		})
	}
}

func brief(c metav1.Condition) string { return string(c.Status) + "/" + c.Reason }

// harmless are reasons that never prevent Ready.
var harmless = []string{
	"Accepted", "Verified", "AsDeclared", "NoDrift", "NotDeclared", "Overridden", "Audited", "Audit", "Suspended",
	"Proven", "Unproven", "PhaseOver", "Compliant", "NotCompliant", "NotProbed", "Fresh", "Stale", "NoBackup",
}

func TestEveryReasonHasAnOutcome(t *testing.T) {
	g := NewWithT(t)
	file, err := parser.ParseFile(token.NewFileSet(), "../../api/v1alpha1/conditions.go", nil, 0)
	g.Expect(err).NotTo(HaveOccurred())
	reasons := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "Reason") {
			return true
		}
		reason, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		g.Expect(err).NotTo(HaveOccurred())
		reasons++
		if verdict.IsClassified(reason) {
			g.Expect(harmless).NotTo(ContainElement(reason))
		} else {
			g.Expect(harmless).To(ContainElement(reason), "%s: name the party that ends the state in reasons.go", reason)
		}
		return true
	})
	g.Expect(reasons).To(BeNumerically(">", 50))
	g.Expect(verdict.OutcomeOf("NeverHeardOf")).To(Equal(verdict.InProgress))
}
