// SPDX-License-Identifier: Apache-2.0

package report_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backup"
	"github.com/cpnp-dev/cpnp-operator/internal/controls"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/posture"
	"github.com/cpnp-dev/cpnp-operator/internal/report"
)

var long = strings.Repeat("€", 4000)

// tooMuch is a report of thousands of long texts.
var tooMuch = []edit{
	func(in *report.Input) {
		in.Policy.Invalid = errors.New(long)
		in.Verified.Holds, in.Verified.Message, in.Verified.Reason = false, long, v1alpha1.ReasonAddressesUnknown
		in.Effective.Holds, in.Effective.Message, in.Effective.Reason = false, long, v1alpha1.ReasonBypassPossible
		last := drift.Finding{
			Object: drift.Object{Kind: "Service", Namespace: "shop", Name: "web"}, Field: long, Cause: v1alpha1.CauseModified,
			State: v1alpha1.StateDrifted, Expected: long, Actual: long, By: drift.Manager{Name: long}, Message: long,
		}
		in.History.Last, in.History.LastTime = &last, now.Time
	},
	many(2000, func(i int, in *report.Input) {
		in.Losses = append(in.Losses, plan.Loss{Policy: "p", Winner: "older", What: nth(i) + long})
		in.ForeignNames = append(in.ForeignNames, nth(i)+long)
		in.History.Failures = append(in.History.Failures, nth(i)+long)
		f := *in.History.Last
		f.Object.Name = nth(i)
		in.Services.Findings = append(in.Services.Findings, f)
		if in.TLS == nil {
			in.TLS, in.Backup = &posture.Verdict{Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonNotCompliant, Message: long}, &backup.Verdict{
				Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonStale, Message: long,
			}
		}
		in.TLS.Findings = append(in.TLS.Findings, v1alpha1.Finding{
			Check: controls.CheckVersion, Severity: v1alpha1.SeverityHigh, Message: long[:512],
		})
	}),
}

func TestStatusStaysSmallWithManyFindings(t *testing.T) {
	for _, also := range []edit{func(*report.Input) {}, deleted, suspended, audits} {
		g := NewWithT(t)
		status := statusOf(input(append(tooMuch, also)...))
		for _, c := range status.Conditions {
			g.Expect(len(c.Message)).To(BeNumerically("<=", 2048), c.Type)
		}
		g.Expect(status.Posture.Findings).To(HaveLen(v1alpha1.MaxReportedFindings))
		g.Expect(status.Posture.FindingCount).To(HaveValue(BeEquivalentTo(2001)), "the count includes findings that are left out")
		g.Expect(status.Drift).To(HaveLen(v1alpha1.MaxReportedDrift))
		g.Expect(status.DriftedObjects).To(HaveValue(BeEquivalentTo(2000)), "the count includes objects that are left out")
	}
}

func TestMessagesNameThreeThingsAndCountTheRest(t *testing.T) {
	const three = "Node/0000 a:NoSchedule is is instead of want; Node/0001 a:NoSchedule is is instead of want; " +
		"Node/0002 a:NoSchedule is is instead of want"
	for count, want := range map[int]string{3: three, 4: three + "; and 1 more", 2000: three + "; and 1997 more"} {
		status := report.StatusOf(input(many(count, func(i int, in *report.Input) {
			in.Taints.Findings = append(in.Taints.Findings, finding("Node", nth(i), "a:NoSchedule", v1alpha1.StateDrifted))
		})))
		NewWithT(t).Expect(meta.FindStatusCondition(status.Conditions, "Drifted").Message).To(Equal(want))
	}
}

func TestDriftIsSortedByObjectWithNotApplicableFieldsLast(t *testing.T) {
	g := NewWithT(t)
	status := report.StatusOf(input(func(in *report.Input) {
		in.Network.Findings = []drift.Finding{
			finding("NetworkPolicy", "z", "spec.ingress", v1alpha1.StateDrifted), finding("NetworkPolicy", "a", "spec.ingress", v1alpha1.StatePending),
		}
		in.Taints.Findings = []drift.Finding{finding("Node", "cp-1", "a:NoSchedule", v1alpha1.StateDrifted)}
		in.Services.Findings = []drift.Finding{
			finding("Service", "a", "externalTrafficPolicy", v1alpha1.StateNotApplicable),
			finding("Service", "b", "externalTrafficPolicy", v1alpha1.StateHeld),
		}
	}))
	var names []string
	for _, d := range status.Drift {
		names = append(names, d.Kind+"/"+d.Name)
	}
	g.Expect(names).To(Equal([]string{"NetworkPolicy/a", "NetworkPolicy/z", "Node/cp-1", "Service/b", "Service/a"}))
	g.Expect(status.DriftedObjects).To(HaveValue(BeEquivalentTo(2)), "pending, held and not applicable objects are not counted")
}

func TestNotApplicableFieldsDoNotCrowdOutDrift(t *testing.T) {
	status := report.StatusOf(input(many(40, func(i int, in *report.Input) {
		in.Services.Findings = append(in.Services.Findings, finding("Service", nth(i), "f", v1alpha1.StateNotApplicable))
	}), service(v1alpha1.StateDrifted)))
	NewWithT(t).Expect(status.Drift[0]).To(And(HaveField("Name", "web"), HaveField("State", v1alpha1.StateDrifted)))
}

func TestCounts(t *testing.T) {
	g := NewWithT(t)
	status := report.StatusOf(input(taint(v1alpha1.StateDrifted), network(v1alpha1.StatePending), func(in *report.Input) { in.PodsToEvict = 7 }))
	g.Expect(status.MatchedNodes).To(HaveValue(BeEquivalentTo(2)))
	g.Expect(status.PodsToEvict).To(HaveValue(BeEquivalentTo(7)))
	for _, c := range []struct {
		count            v1alpha1.SyncCount
		declared, inSync int
	}{{status.NetworkPolicies, 2, 1}, {status.Taints, 2, 1}, {status.Services, 2, 2}} {
		g.Expect(c.count.Declared).To(HaveValue(BeEquivalentTo(c.declared)))
		g.Expect(c.count.InSync).To(HaveValue(BeEquivalentTo(c.inSync)))
	}
	none := report.StatusOf(input(undeclared, noNodes))
	g.Expect(none.MatchedNodes).To(HaveValue(BeZero()), "zero is reported, not left out")
	g.Expect(none.Taints.Declared).To(HaveValue(BeZero()))
}

func TestContestedFieldIsReportedInPlaceOfItsDrift(t *testing.T) {
	g := NewWithT(t)
	drifted := finding("Service", "fought", "externalTrafficPolicy", v1alpha1.StateDrifted)
	drifted.Actual = "now"
	status := report.StatusOf(input(contested, func(in *report.Input) { in.Services.Findings = []drift.Finding{drifted} }))
	g.Expect(status.Drift).To(HaveExactElements(And(HaveField("State", v1alpha1.StateContested), HaveField("Actual", "now"))))
	for _, kind := range []string{"Node", "NetworkPolicy", "Service"} {
		status := report.StatusOf(input(func(in *report.Input) {
			in.History.Contested = []drift.Finding{finding(kind, "x", "f", v1alpha1.StateContested)}
		}))
		g.Expect(status.Drift).To(HaveExactElements(And(HaveField("Kind", kind), HaveField("State", v1alpha1.StateContested))))
	}
}

func TestLastDriftIsKeptUntilTheNextDrift(t *testing.T) {
	g := NewWithT(t)
	in := input()
	g.Expect(report.StatusOf(in).LastDrift).To(BeNil())
	in.History.Last, in.History.LastTime = ptrTo(finding("Node", "cp-1", "a:NoSchedule", v1alpha1.StateDrifted)), now.Time
	in.Policy.Status = statusOf(in)
	g.Expect(in.Policy.Status.LastDrift).To(HaveValue(And(HaveField("Name", "cp-1"), HaveField("Expected", "want"), HaveField("Actual", "is"))))
	g.Expect(in.Policy.Status.LastDriftTime.Unix()).To(Equal(now.Unix()))

	in.History = drift.Summary{} // the operator was restarted
	g.Expect(report.StatusOf(in).LastDrift).To(Equal(in.Policy.Status.LastDrift))
	g.Expect(report.StatusOf(in).LastDriftTime).To(Equal(in.Policy.Status.LastDriftTime))

	in.History.Last, in.History.LastTime = ptrTo(finding("Node", "cp-2", "a:NoSchedule", v1alpha1.StateDrifted)), now.Add(time.Hour)
	g.Expect(report.StatusOf(in).LastDrift).To(HaveValue(HaveField("Name", "cp-2")))
}

func TestLastDriftIsReportedOnceAndNeverAnOlderOne(t *testing.T) {
	told, repaired := finding("Node", "told", "a:NoSchedule", v1alpha1.StateDrifted), finding("Node", "repaired", "a:NoSchedule", v1alpha1.StateDrifted)
	tests := map[string]struct {
		count int
		after time.Duration // after the last drift that was reported
		want  string
	}{
		"A later repair is reported":                                      {0, time.Second, "repaired"},
		"A repair of the same second counts as the reported one":          {0, 0, "told"},
		"A repair of the same second that was never reported is reported": {1, 0, "repaired"},
		"An earlier repair is not reported again":                         {0, -time.Minute, "told"},
		"An earlier repair that was never reported is reported":           {1, -time.Minute, "repaired"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			in := input()
			in.History.Last, in.History.LastTime = &told, now.Time
			in.Policy.Status = statusOf(in)
			in.History = drift.Summary{Last: &repaired, LastTime: now.Add(test.after), Count: test.count}
			NewWithT(t).Expect(report.StatusOf(in).LastDrift).To(HaveValue(HaveField("Name", test.want)))
		})
	}
}

func TestUnknownHasAReasonAndKeepsTheRestOfTheStatus(t *testing.T) {
	g := NewWithT(t)
	in := input(taint(v1alpha1.StateDrifted))
	in.Policy.Status = statusOf(in)
	later := metav1.NewTime(now.Add(time.Hour))
	status := report.UnknownStatus(in.Policy, errors.New("no answer"), later)
	ready := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionReady)
	g.Expect(ready.Status).To(Equal(metav1.ConditionUnknown))
	g.Expect(ready.Reason).To(Equal(v1alpha1.ReasonObserving))
	g.Expect(ready.Message).To(Equal("The operator cannot read the cluster, and tries again: no answer"))
	g.Expect(ready.ObservedGeneration).To(BeEquivalentTo(3))
	g.Expect(ready.LastTransitionTime).To(Equal(later))
	g.Expect(status.Drift).To(Equal(in.Policy.Status.Drift))
	g.Expect(outcomeIn(status)).To(Equal(v1alpha1.ConditionReconciling))
}
