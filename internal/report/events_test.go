// SPDX-License-Identifier: Apache-2.0

package report_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/report"
)

func TestTransitionsAndRepairsAreEvents(t *testing.T) {
	condition := func(kind string, status metav1.ConditionStatus, reason string) metav1.Condition {
		return metav1.Condition{Type: kind, Status: status, Reason: reason, Message: "message of " + reason}
	}
	conditions := func(conditions ...metav1.Condition) []metav1.Condition { return conditions }
	ready, unready := condition("Ready", "True", "AsDeclared"), condition("Ready", "False", "Pending")
	drifted, calm := condition("Drifted", "True", "Drifted"), condition("Drifted", "False", "NoDrift")
	accepted, refused := condition("Accepted", "True", "Accepted"), condition("Accepted", "False", "NoMatchingNodes")
	last := finding("Service", "web", "f", v1alpha1.StateDrifted)
	normal := func(reason string) report.Event {
		return report.Event{Type: "Normal", Reason: reason, Action: "Observe", Note: "message of " + reason}
	}
	warning := func(reason string) report.Event {
		return report.Event{Type: "Warning", Reason: reason, Action: "Observe", Note: "message of " + reason}
	}
	corrected := func(note string) report.Event {
		return report.Event{Type: "Warning", Reason: "DriftCorrected", Action: "Repair", Note: note}
	}

	const change = "Service/web f was changed from want to is by an unknown writer; repaired"
	type events = []report.Event
	tests := map[string]struct {
		before, after []metav1.Condition
		repairs       drift.Summary
		want          events
	}{
		"No change, no event":                         {before: conditions(ready, calm), after: conditions(ready, calm)},
		"A new policy that is ready is an event":      {after: conditions(ready, calm), want: events{normal("AsDeclared")}},
		"A new policy that is not ready is a warning": {after: conditions(unready, calm), want: events{warning("Pending")}},
		"A new policy with drift is a warning":        {after: conditions(unready, drifted), want: events{warning("Drifted"), warning("Pending")}},
		"A policy that becomes ready is an event": {
			before: conditions(unready, calm), after: conditions(ready, calm), want: events{normal("AsDeclared")},
		},
		"Another reason for not being ready is an event": {
			before: conditions(condition("Ready", "False", "Audit")), after: conditions(unready), want: events{warning("Pending")},
		},
		"The end of drift is an event": {
			before: conditions(unready, drifted), after: conditions(unready, calm), want: events{normal("NoDrift")},
		},
		"Other conditions are no events":  {before: conditions(ready, accepted), after: conditions(ready, refused)},
		"A removed condition is no event": {before: conditions(ready, calm)},
		"One repair is one event":         {repairs: drift.Summary{Count: 1, Last: &last}, want: events{corrected(change)}},
		"A thousand repairs are one event": {
			repairs: drift.Summary{Count: 1000, Last: &last}, want: events{corrected("1000 drifts repaired, the last of them: " + change)},
		},
		"A repair that was reported before is no event": {repairs: drift.Summary{Last: &last}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, report.ConditionEvents(test.before, test.after, test.repairs)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestAnotherMessageIsNoEvent(t *testing.T) {
	before := []metav1.Condition{{Type: "Ready", Status: "False", Reason: "Drifted", Message: "one"}}
	after := []metav1.Condition{{Type: "Ready", Status: "False", Reason: "Drifted", Message: "another"}}
	NewWithT(t).Expect(report.ConditionEvents(before, after, drift.Summary{})).To(BeEmpty())
}

func TestNotesOfEventsAreBounded(t *testing.T) {
	last := drift.Finding{Object: drift.Object{Kind: "Service", Name: strings.Repeat("x", 3000)}, Field: "f", Cause: v1alpha1.CauseModified}
	after := []metav1.Condition{{Type: "Ready", Status: "False", Reason: "Drifted", Message: strings.Repeat("é", 3000)}}
	for _, event := range report.ConditionEvents(nil, after, drift.Summary{Count: 1, Last: &last}) {
		NewWithT(t).Expect(len(event.Note)).To(BeNumerically("<=", 1024))
	}
}

func TestFirstReportInAuditHasTheFindings(t *testing.T) {
	after := report.StatusOf(input(audits, taint(v1alpha1.StateDrifted))).Conditions
	var reasons []string
	for _, event := range report.ConditionEvents(nil, after, drift.Summary{}) {
		reasons = append(reasons, event.Type+" "+event.Reason)
	}
	NewWithT(t).Expect(reasons).To(Equal([]string{"Warning Drifted", "Normal Audited"}))
}

func TestNewPhaseOfANodeIsAnEvent(t *testing.T) {
	for phase, kind := range map[string]string{
		"Pending": "Normal", "Progressing": "Normal", "Enforced": "Normal", "Reverted": "Warning", "Aborted": "Warning",
	} {
		in := input(at("cp-1", phase))
		NewWithT(t).Expect(report.PhaseEvent(&in.Rollout.Enactments[0], phase)).To(Equal(report.Event{
			Type: kind, Reason: "Node" + phase, Action: "RollOut", Note: "Node cp-1: because of cp-1",
		}))
	}
}

func TestNodesAreCountedByPhase(t *testing.T) {
	g := NewWithT(t)
	g.Expect(report.StatusOf(input()).Nodes).To(BeNil(), "without a rollout")
	counts := report.StatusOf(input(at("a", "Enforced"), at("b", "Enforced"), at("c", "Reverted"), at("d", "Aborted"))).Nodes
	g.Expect(*counts.Enforced).To(BeEquivalentTo(2))
	g.Expect(*counts.Reverted).To(BeEquivalentTo(1))
	g.Expect(*counts.Aborted).To(BeEquivalentTo(1))
	g.Expect(*counts.Pending).To(BeZero())
}

func TestEventOfARepairedRecord(t *testing.T) {
	replaced := drift.Finding{
		Policy: "p", Object: drift.Object{Kind: "Service", Namespace: "shop", Name: "web"}, Field: "externalTrafficPolicy", Cause: v1alpha1.CauseModified,
	}
	g := NewWithT(t)
	events := report.ReleaseEvents(drift.Releases{Replaced: []drift.Finding{replaced}})
	g.Expect(events).To(ConsistOf(And(HaveField("Reason", "RecordReplaced"), HaveField("Note",
		ContainSubstring("its original value of externalTrafficPolicy was not the value that the operator remembers")))))
}
