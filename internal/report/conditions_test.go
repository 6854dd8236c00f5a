// SPDX-License-Identifier: Apache-2.0

package report_test

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/report"
)

// stored returns a status as the API server returns it.
func stored(status v1alpha1.ControlPlaneNetworkPolicyStatus) v1alpha1.ControlPlaneNetworkPolicyStatus {
	var out v1alpha1.ControlPlaneNetworkPolicyStatus
	text, err := json.Marshal(status)
	if err != nil {
		panic(err)
	}
	if err := json.Unmarshal(text, &out); err != nil {
		panic(err)
	}
	return out
}

// found returns the conditions of a status as type → Status/Reason.
func found(conditions []metav1.Condition) map[string]string {
	out := map[string]string{}
	for _, c := range conditions {
		out[c.Type] = string(c.Status) + "/" + c.Reason
	}
	return out
}

// good are the conditions of a policy that is as declared.
var good = map[string]string{
	"Ready": "True/AsDeclared", "Accepted": "True/Accepted", "Verified": "True/Verified", "Programmed": "True/AsDeclared",
	"Effective": "True/AsDeclared", "TaintsInSync": "True/AsDeclared", "TrafficPoliciesInSync": "True/AsDeclared", "Drifted": "False/NoDrift",
}

func TestConditionsInEachScenario(t *testing.T) {
	// The differences from good; an empty value is a missing condition.
	wanted := map[string]map[string]string{
		"as declared":                     {},
		"TLS compliant, backup fresh":     {"TLSCompliant": "True/Compliant", "BackupFresh": "True/Fresh"},
		"TLS not compliant, backup stale": {"TLSCompliant": "False/NotCompliant", "BackupFresh": "False/Stale"},
		"Audit, TLS not compliant":        {"Ready": "True/Audited", "TLSCompliant": "False/NotCompliant"},
		"TLS not probed, no backup":       {"TLSCompliant": "Unknown/NotProbed", "BackupFresh": "Unknown/NoBackup"},
		"nothing declared": {
			"Effective": "True/NotDeclared", "TaintsInSync": "True/NotDeclared", "TrafficPoliciesInSync": "True/NotDeclared",
		},
		"to be written": {
			"Ready": "False/Pending", "Reconciling": "True/Pending", "Programmed": "False/Pending", "Effective": "False/NotProgrammed",
			"TaintsInSync": "False/Pending", "TrafficPoliciesInSync": "False/Pending",
		},
		"network drifted": {
			"Ready": "False/Drifted", "Drifted": "True/Drifted", "Reconciling": "True/Pending",
			"Programmed": "False/Pending", "Effective": "False/NotProgrammed",
		},
		"taint drifted": {
			"Ready": "False/Drifted", "Drifted": "True/Drifted", "Reconciling": "True/Pending",
			"Programmed": "False/Pending", "TaintsInSync": "False/Drifted",
		},
		"Service drifted": {
			"Ready": "False/Drifted", "Drifted": "True/Drifted", "Reconciling": "True/Pending",
			"Programmed": "False/Pending", "TrafficPoliciesInSync": "False/Drifted",
		},
		"Service held back": {"Ready": "False/Held", "Stalled": "True/Held", "Programmed": "False/Held", "TrafficPoliciesInSync": "False/Held"},
		"Service conflicted": {
			"Ready": "False/Conflicted", "Stalled": "True/Conflicted", "Drifted": "True/Conflicted", "Programmed": "False/Conflicted", "TrafficPoliciesInSync": "False/Conflicted",
		},
		"Service not applicable":    {},
		"Service without endpoints": {"Ready": "False/EndpointsMissing", "Stalled": "True/EndpointsMissing", "TrafficPoliciesInSync": "False/EndpointsMissing"},
		"Service without endpoints, pending": {
			"Ready": "False/Pending", "Reconciling": "True/Pending", "Programmed": "False/Pending", "TrafficPoliciesInSync": "False/EndpointsMissing",
		},
		"Audit, Service without endpoints": {"Ready": "True/Audited", "TrafficPoliciesInSync": "False/EndpointsMissing"},
		"Service forced":                   {},
		"Service contested": {
			"Ready": "False/Contested", "Stalled": "True/Contested", "Drifted": "True/Contested", "Programmed": "False/Contested", "TrafficPoliciesInSync": "False/Contested",
		},
		"taint drifted, Service held back": {
			"Ready": "False/Drifted", "Drifted": "True/Drifted", "Reconciling": "True/Pending", "Programmed": "False/Pending",
			"TaintsInSync": "False/Drifted", "TrafficPoliciesInSync": "False/Held",
		},
		"Audit as declared": {"Ready": "True/Audited"},
		"Audit drifted": {
			"Ready": "True/Audited", "Drifted": "True/Drifted", "Programmed": "False/Audit",
			"Effective": "False/NotProgrammed", "TaintsInSync": "False/Drifted",
		},
		"Audit held back": {"Ready": "True/Audited", "Programmed": "False/Audit", "TrafficPoliciesInSync": "False/Held"},
		"Audit lost": {
			"Ready": "False/Conflicted", "Accepted": "False/Conflicted", "Stalled": "True/Conflicted",
			"Programmed": "False/Audit",
		},
		"Audit after failures":  {"Ready": "True/Audited"},
		"suspended as declared": {"Ready": "True/Suspended"},
		"suspended with differences": {
			"Ready": "True/Suspended", "Drifted": "True/Drifted", "Programmed": "False/Suspended",
			"TaintsInSync": "False/Pending", "TrafficPoliciesInSync": "False/Drifted",
		},
		"suspended without nodes": {"Ready": "True/Suspended", "Accepted": "False/NoMatchingNodes", "Verified": "False/NoMatchingNodes"},
		"invalid": {
			"Ready": "False/InvalidSelector", "Accepted": "False/InvalidSelector", "Verified": "False/NoMatchingNodes", "Stalled": "True/InvalidSelector",
		},
		"invalid and drifted": {
			"Ready": "False/InvalidSelector", "Accepted": "False/InvalidSelector", "Verified": "False/NoMatchingNodes", "Stalled": "True/InvalidSelector",
			"Drifted": "True/Drifted", "Programmed": "False/NotVerified", "TaintsInSync": "False/Drifted",
		},
		"no node": {
			"Ready": "False/NoMatchingNodes", "Accepted": "False/NoMatchingNodes", "Verified": "False/NoMatchingNodes", "Stalled": "True/NoMatchingNodes",
		},
		"empty peer set": {
			"Ready": "False/AddressesUnknown", "Verified": "False/AddressesUnknown", "Stalled": "True/AddressesUnknown", "Effective": "False/NotProgrammed",
			"Programmed": "False/NotVerified",
		},
		"empty peer set, taint to be written": {
			"Ready": "False/AddressesUnknown", "Verified": "False/AddressesUnknown", "Stalled": "True/AddressesUnknown", "Effective": "False/NotProgrammed",
			"Programmed": "False/NotVerified", "TaintsInSync": "False/Pending",
		},
		"lost to another": {
			"Ready": "False/Conflicted", "Accepted": "False/Conflicted", "Stalled": "True/Conflicted",
			"Programmed": "False/Conflicted",
		},
		"lost to another, rest to be written": {
			"Ready": "False/Conflicted", "Accepted": "False/Conflicted", "Stalled": "True/Conflicted",
			"Programmed": "False/Pending", "TaintsInSync": "False/Pending",
		},
		"name taken": {
			"Ready": "False/Conflicted", "Accepted": "False/Conflicted", "Stalled": "True/Conflicted", "Programmed": "False/Conflicted",
		},
		"write failed": {
			"Ready": "False/ApplyFailed", "Programmed": "False/ApplyFailed", "TrafficPoliciesInSync": "False/Pending", "Reconciling": "True/Pending",
		},
		"pods on the network of their node": {"Ready": "False/BypassPossible", "Stalled": "True/BypassPossible", "Effective": "False/BypassPossible"},
		"being deleted":                     {"Ready": "False/Deleting", "Reconciling": "True/Deleting"},
		"deleted but for the finalizer":     {"Ready": "False/Deleting", "Reconciling": "True/Deleting"},
		"being deleted while suspended":     {"Ready": "False/Deleting", "Reconciling": "True/Deleting"},
		"deleted, finalizer refused":        {"Ready": "False/Deleting", "Reconciling": "True/Deleting", "Programmed": "False/ApplyFailed"},
		"being deleted, write failed":       {"Ready": "False/Deleting", "Reconciling": "True/Deleting", "Programmed": "False/ApplyFailed"},
		"rolling out": {
			"Ready": "False/RollingOut", "Reconciling": "True/RollingOut", "Programmed": "False/RollingOut", "Effective": "False/NotProgrammed",
		},
		"rollout failed": {
			"Ready": "False/RolloutFailed", "Stalled": "True/RolloutFailed", "Programmed": "False/RolloutFailed", "Effective": "False/NotProgrammed",
		},
		"all nodes enforced":   {},
		"forbidden connection": {"Ready": "False/ProbeConnected", "Stalled": "True/ProbeConnected", "Effective": "False/ProbeConnected"},
		"reverted by annotation": {
			"Ready": "False/RolledBack", "Stalled": "True/RolledBack", "Programmed": "False/RolledBack", "Effective": "False/RolledBack",
		},
		"reverted by annotation while suspended": {
			"Ready": "False/RolledBack", "Reconciling": "True/RolledBack", "Programmed": "False/RolledBack", "Effective": "False/RolledBack",
		},
		"Calico unread": {
			"Ready": "False/CalicoUnavailable", "Verified": "Unknown/CalicoUnavailable", "Programmed": "False/CalicoUnavailable",
			"Effective": "False/CalicoUnavailable", "Reconciling": "True/CalicoUnavailable",
		},
		"Calico unread, to be written": {
			"Ready": "False/Pending", "Verified": "Unknown/CalicoUnavailable", "Programmed": "False/Pending",
			"Effective": "False/CalicoUnavailable", "Reconciling": "True/Pending",
		},
		"Calico unread, drifted": {
			"Ready": "False/Drifted", "Drifted": "True/Drifted", "Verified": "Unknown/CalicoUnavailable", "Programmed": "False/Pending",
			"Effective": "False/CalicoUnavailable", "Reconciling": "True/Pending", "TrafficPoliciesInSync": "False/Drifted",
		},
		"Audit, Calico unread, to be written": {
			"Ready": "False/CalicoUnavailable", "Reconciling": "True/CalicoUnavailable", "Verified": "Unknown/CalicoUnavailable", "Programmed": "False/Audit", "Effective": "False/CalicoUnavailable",
		},
		"profile unknown": {
			"Ready": "False/ProfileUnknown", "Verified": "False/ProfileUnknown", "Stalled": "True/ProfileUnknown",
			"Programmed": "False/NotVerified", "Effective": "False/NotProgrammed",
		},
		"profile unknown, to be written": {
			"Ready": "False/ProfileUnknown", "Verified": "False/ProfileUnknown", "Stalled": "True/ProfileUnknown",
			"Programmed": "False/Pending", "Effective": "False/NotProgrammed",
		},
		"not judged": {"Ready": "Unknown/NotJudged", "Stalled": "True/NotJudged", "Effective": "Unknown/NotJudged"},
		"not judged, overridden": {
			"Ready": "Unknown/NotJudged", "Stalled": "True/NotJudged", "Effective": "Unknown/NotJudged", "Verified": "True/Overridden",
		},
		"not judged, to be written": {
			"Ready": "False/Pending", "Effective": "Unknown/NotJudged", "Programmed": "False/Pending", "Reconciling": "True/Pending",
		},
		"not judged, rolling out": {
			"Ready": "False/RollingOut", "Effective": "Unknown/NotJudged", "Verified": "True/Overridden",
			"Programmed": "False/RollingOut", "Reconciling": "True/RollingOut",
		},
		"not judged, reverted by annotation": {
			"Ready": "False/RolledBack", "Effective": "False/RolledBack", "Programmed": "False/RolledBack", "Stalled": "True/RolledBack",
		},
		"not judged, held": {
			"Ready": "False/NotJudged", "Effective": "Unknown/NotJudged",
			"Verified": "False/NotJudged", "Stalled": "True/NotJudged",
		},
		"Audit not judged": {
			"Ready": "False/NotJudged", "Effective": "Unknown/NotJudged",
			"Verified": "False/NotJudged", "Stalled": "True/NotJudged",
		},
		"overridden": {"Verified": "True/Overridden"},
		"waiting for a person on every node": {
			"Ready": "False/NoQuorumToSpare", "Stalled": "True/NoQuorumToSpare", "Programmed": "False/RollingOut", "Effective": "False/NotProgrammed",
		},
		"waiting for a person on one node of two": {
			"Ready": "False/RollingOut", "Reconciling": "True/RollingOut", "Programmed": "False/RollingOut", "Effective": "False/NotProgrammed",
		},
		"awaiting a confirmation": {
			"Ready": "False/RollingOut", "Reconciling": "True/RollingOut", "Programmed": "False/RollingOut", "Effective": "False/NotProgrammed",
		},
		"enactment refused": {"Ready": "False/ApplyFailed", "Reconciling": "True/ApplyFailed", "Programmed": "False/ApplyFailed"},
		"Calico unread, Service held back": {
			"Ready": "False/Held", "Stalled": "True/Held", "Verified": "Unknown/CalicoUnavailable", "Programmed": "False/Held",
			"Effective": "False/CalicoUnavailable", "TrafficPoliciesInSync": "False/Held",
		},
		"required flow cut": {"Ready": "False/RequiredFlowCut", "Verified": "False/RequiredFlowCut", "Stalled": "True/RequiredFlowCut"},
	}
	addReasons(wanted)
	NewWithT(t).Expect(slices.Sorted(maps.Keys(wanted))).To(Equal(slices.Sorted(maps.Keys(scenarios))))
	for name, edits := range scenarios {
		t.Run(name, func(t *testing.T) {
			want := maps.Clone(good)
			maps.Copy(want, wanted[name])
			if diff := cmp.Diff(want, found(statusOf(input(edits...)).Conditions)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// addReasons adds the conditions of the scenarios that are made from a reason.
func addReasons(wanted map[string]map[string]string) {
	for _, reason := range refusals {
		wanted["refused: "+reason] = map[string]string{
			"Ready": "False/" + reason, "Stalled": "True/" + reason, "Verified": "False/" + reason,
		}
	}
	for _, reason := range leaks {
		wanted["without effect: "+reason] = map[string]string{
			"Ready": "False/" + reason, "Stalled": "True/" + reason, "Effective": "False/" + reason,
		}
		wanted["Audit, without effect: "+reason] = map[string]string{"Ready": "True/Audited", "Effective": "False/" + reason}
	}
	for _, reason := range obstacles {
		for _, mode := range []string{"", "Audit, "} {
			wanted[mode+"hosts unprotected: "+reason] = map[string]string{
				"Ready": "False/" + reason, "Stalled": "True/" + reason, "Programmed": "False/" + reason, "Effective": "False/" + reason,
			}
		}
	}
	for _, mode := range []string{"", "Audit, "} {
		wanted[mode+"hosts unprotected: CalicoTooLarge"]["Verified"] = "Unknown/CalicoTooLarge"
	}
}

func TestReadyNamesTheMostUrgentReason(t *testing.T) {
	// Everything is wrong at first; then one fault after the other is repaired.
	steps := []struct {
		ready string
		fix   edit
	}{
		{"Deleting", func(in *report.Input) { in.Policy.DeletionTimestamp = nil }},
		{"Suspended", func(in *report.Input) { in.Policy.Spec.Suspend = false }},
		{"InvalidSelector", func(in *report.Input) { in.Policy.Invalid = nil }},
		{"NoMatchingNodes", func(in *report.Input) { emptyPeers(in) }},
		{"Conflicted", func(in *report.Input) { in.Losses = nil }},
		{"Conflicted", func(in *report.Input) { in.ForeignNames = nil }},
		{"AddressesUnknown", func(in *report.Input) { in.Verified = input().Verified }},
		{"ApplyFailed", func(in *report.Input) { in.History.Failures = nil }},
		{"Contested", func(in *report.Input) { in.History.Contested = nil }},
		{"Conflicted", func(in *report.Input) {
			in.Services = report.Section{Declared: 2, InSync: 2}
			service(v1alpha1.StateHeld)(in)
		}},
		{"Drifted", func(in *report.Input) {
			in.Taints = report.Section{Declared: 2, InSync: 2}
			taint(v1alpha1.StatePending)(in)
		}},
		{"Held", func(in *report.Input) { in.Services = report.Section{Declared: 2, InSync: 2} }},
		{"Pending", func(in *report.Input) { in.Taints, in.Network = input().Taints, input().Network }},
		{"BypassPossible", func(in *report.Input) { in.Effective = input().Effective }},
		{"AsDeclared", nil},
	}
	in := input(deleted, suspended, failing, invalid, lost, taken, contested, service(v1alpha1.StateConflicted), taint(v1alpha1.StateDrifted), evaded)
	for _, step := range steps {
		ready := meta.FindStatusCondition(report.StatusOf(in).Conditions, v1alpha1.ConditionReady)
		NewWithT(t).Expect(ready.Reason).To(Equal(step.ready))
		if step.fix != nil {
			step.fix(&in)
		}
	}
}

func TestMessagesNameTheRemedy(t *testing.T) {
	tests := []struct {
		edits           []edit
		condition, want string
	}{
		{nil, "Ready", "The cluster is as declared"},
		{nil, "TaintsInSync", "2 of 2 in sync"},
		{nil, "Drifted", "No drift was found"},
		{[]edit{undeclared}, "TaintsInSync", "The policy declares no taint"},
		{[]edit{undeclared}, "TrafficPoliciesInSync", "The policy declares no Service"},
		{[]edit{audits}, "Ready", "The audit is complete: Enforce would write 0 objects"},
		{[]edit{audits, taint(v1alpha1.StateDrifted), network(v1alpha1.StateDrifted)}, "Ready",
			"The audit is complete: Enforce would write 2 objects; findings are in Drifted, TaintsInSync, Effective"},
		{[]edit{audits, service(v1alpha1.StateHeld)}, "Ready",
			"The audit is complete: Enforce would write 0 objects; findings are in TrafficPoliciesInSync"},
		{[]edit{taint(v1alpha1.StateDrifted)}, "Ready", "Node/cp-1 a:NoSchedule is is instead of want"},
		{[]edit{taint(v1alpha1.StateDrifted)}, "TaintsInSync", "1 of 2 in sync: Node/cp-1 a:NoSchedule is is instead of want"},
		{[]edit{taint(v1alpha1.StateDrifted)}, "Reconciling", "1 object left to write"},
		{[]edit{network(v1alpha1.StatePending)}, "Effective", "1 of 2 NetworkPolicies are not in place"},
		{[]edit{service(v1alpha1.StateNotApplicable)}, "TrafficPoliciesInSync",
			"2 of 2 in sync; not applicable: Service/web externalTrafficPolicy is is instead of want"},
		{[]edit{audits, taint(v1alpha1.StateDrifted), network(v1alpha1.StateDrifted)}, "Programmed", "spec.mode is Audit; Enforce would write 2 objects"},
		{[]edit{suspended, taint(v1alpha1.StateDrifted)}, "Programmed", "spec.suspend is set, so nothing is written; 1 difference left alone"},
		{[]edit{suspended}, "Ready", "spec.suspend is set: nothing is written, and existing objects stay"},
		{[]edit{invalid}, "Accepted", "spec.nodeSelector: bad key: correct the selector; until then nothing is written"},
		{[]edit{lost}, "Accepted", "Older policies claim the same, so nothing is written there for this policy: component a is claimed by older"},
		{[]edit{taken}, "Accepted",
			"Foreign objects have names that the policy needs; rename or delete them: NetworkPolicy/kube-system/cpnp.p.a"},
		{[]edit{lost}, "Programmed", "Objects that older policies claim, or that are foreign, are not written: see condition Accepted"},
		{[]edit{failing}, "Ready", "Service/shop/web: forbidden"},
		{[]edit{deleted, remaining}, "Ready", "The policy is being deleted; left to restore: Node/cp-1; Service/shop/web. If this message stays, no operator with its rights runs any more: install it again until the policy is gone"},
		{[]edit{at("a", "Enforced"), at("b", "Pending"), at("c", "Progressing")}, "Ready",
			"1 of 3 nodes are enforced; c is progressing: because of c; b is pending: because of b"},
		{[]edit{alike(at("a", "Pending"), at("b", "Pending"), at("c", "Pending"), at("d", "Pending"), at("e", "Aborted"))}, "Ready",
			"0 of 5 nodes are enforced; a, b, c and 1 more are pending: all alike; e is aborted: all alike"},
		{[]edit{connected}, "Effective", "Connections were made although they are declared closed: worker-1 to 10.0.0.1:2379"},
		{[]edit{revertedByAnnotation, suspended, remaining}, "Reconciling",
			"The annotation cpnp.dev/revert rolls everything back that was written, until the annotation is removed: \"paged\"; " +
				"left to restore: Node/cp-1; Service/shop/web"},
		{[]edit{revertedByAnnotation, failing}, "Programmed",
			"The annotation cpnp.dev/revert rolls everything back that was written, until the annotation is removed: \"paged\"; " +
				"failed: Service/shop/web: forbidden"},
		{[]edit{deleted, failing}, "Ready", "The policy is being deleted; everything is restored, and only the finalizer cpnp.dev/finalizer is left; " +
			"failed: Service/shop/web: forbidden. Give the operator its rights again: install it again"},
		{[]edit{deleted, remaining, failing}, "Ready", "The policy is being deleted; left to restore: Node/cp-1; Service/shop/web; " +
			"failed: Service/shop/web: forbidden. An object that the API server keeps refusing is soon abandoned, " +
			"unless it restricts hosts: make the API server accept the change, or delete the object by hand"},
		{[]edit{deleted}, "Reconciling", "The policy is being deleted; nothing is left to restore. If this message stays, no operator with its rights runs any more: install it again until the policy is gone"},
	}
	for _, test := range tests {
		t.Run(test.want, func(t *testing.T) {
			condition := meta.FindStatusCondition(report.StatusOf(input(test.edits...)).Conditions, test.condition)
			NewWithT(t).Expect(condition).To(HaveField("Message", test.want))
		})
	}
}
