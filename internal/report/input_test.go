// SPDX-License-Identifier: Apache-2.0

package report_test

import (
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/backup"
	"github.com/cpnp-dev/cpnp-operator/internal/controls"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/posture"
	"github.com/cpnp-dev/cpnp-operator/internal/report"
	"github.com/cpnp-dev/cpnp-operator/internal/verify"
)

var now = metav1.NewTime(time.Unix(1_700_000_000, 123_456_789))

type edit func(*report.Input)

// input is the input for an enforcing policy with two objects of every kind, all of them as declared.
func input(edits ...edit) report.Input {
	policy := v1alpha1.ControlPlaneNetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Generation: 3},
		Spec: v1alpha1.ControlPlaneNetworkPolicySpec{
			Mode: v1alpha1.ModeEnforce,
			NodeSelector: v1alpha1.LabelSelector{
				MatchLabels: map[string]v1alpha1.LabelValue{"node-role.kubernetes.io/control-plane": ""},
			},
		},
	}
	in := report.Input{
		Policy:       &plan.Compile([]v1alpha1.ControlPlaneNetworkPolicy{policy})[0],
		MatchedNodes: 2,
		Verified:     verify.Verdict{Holds: true, Reason: v1alpha1.ReasonVerified, Message: "What is declared is safe to write"},
		Effective:    verify.Verdict{Holds: true, Reason: v1alpha1.ReasonAsDeclared, Message: "No pod evades"},
		Network:      report.Section{Declared: 2, InSync: 2},
		Taints:       report.Section{Declared: 2, InSync: 2},
		Services:     report.Section{Declared: 2, InSync: 2},
		Now:          now,
	}
	for _, edit := range edits {
		edit(&in)
	}
	return in
}

func audits(in *report.Input)    { in.Policy.Spec.Mode = v1alpha1.ModeAudit }
func suspended(in *report.Input) { in.Policy.Spec.Suspend = true }
func deleted(in *report.Input)   { in.Policy.DeletionTimestamp = &now }
func remaining(in *report.Input) { in.Remaining = []string{"Node/cp-1", "Service/shop/web"} }
func invalid(in *report.Input) {
	in.Policy.Invalid = errors.New("spec.nodeSelector: bad key")
	noNodes(in)
}

func noNodes(in *report.Input) {
	in.MatchedNodes = 0
	in.Verified = verify.Verdict{Reason: v1alpha1.ReasonNoMatchingNodes, Message: "spec.nodeSelector selects no node"}
}

func emptyPeers(in *report.Input) {
	in.Verified = verify.Verdict{Reason: v1alpha1.ReasonAddressesUnknown, Message: "component a allows nobody"}
	in.Network.InSync--
}

func evaded(in *report.Input) {
	in.Effective = verify.Verdict{Reason: v1alpha1.ReasonBypassPossible, Message: "kube-system/x evades"}
}
func lost(in *report.Input) {
	in.Losses = []plan.Loss{{Policy: "p", Winner: "older", What: "component a"}}
}
func taken(in *report.Input) { in.ForeignNames = []string{"NetworkPolicy/kube-system/cpnp.p.a"} }
func failing(in *report.Input) {
	in.History.Failures = []string{"Service/shop/web: forbidden"}
}

func finding(kind, name, field string, state v1alpha1.DriftState) drift.Finding {
	return drift.Finding{
		Policy: "p", Object: drift.Object{Kind: kind, Name: name}, Field: field,
		Cause: v1alpha1.CauseModified, State: state, Expected: "want", Actual: "is",
	}
}

func network(state v1alpha1.DriftState) edit {
	return func(in *report.Input) {
		in.Network.InSync--
		in.Network.Findings = append(in.Network.Findings, finding("NetworkPolicy", "n", "spec.ingress", state))
	}
}

func taint(state v1alpha1.DriftState) edit {
	return func(in *report.Input) {
		in.Taints.InSync--
		in.Taints.Findings = append(in.Taints.Findings, finding("Node", "cp-1", "a:NoSchedule", state))
	}
}

func service(state v1alpha1.DriftState) edit {
	return func(in *report.Input) {
		switch state {
		case v1alpha1.StateNotApplicable, v1alpha1.StateEndpointsMissing, v1alpha1.StateForced:
		default:
			in.Services.InSync--
		}
		in.Services.Findings = append(in.Services.Findings, finding("Service", "web", "externalTrafficPolicy", state))
	}
}

// tls judges the TLS of six ports.
func tls(status metav1.ConditionStatus, reason string) edit {
	return func(in *report.Input) {
		in.TLS = &posture.Verdict{Status: status, Reason: reason, Message: "what was found", Ports: 6, Probed: 5}
		in.TLS.Certificates = []posture.Expiry{{Component: v1alpha1.PostureEtcd, Node: "cp-1", NotAfter: now.Add(48 * time.Hour).Truncate(time.Second)}}
		if status == metav1.ConditionFalse {
			in.TLS.Findings = []v1alpha1.Finding{{
				Check: controls.CheckVersion, Severity: v1alpha1.SeverityHigh, Node: "cp-1", Component: "etcd",
				Message: "etcd on cp-1 accepts TLS 1.1", Controls: []string{"DISA STIG Kubernetes V-242379"},
			}}
		}
	}
}

// backedUp judges the backups of etcd.
func backedUp(status metav1.ConditionStatus, reason string) edit {
	return func(in *report.Input) {
		in.Backup = &backup.Verdict{Status: status, Reason: reason, Message: "what was found"}
		if status != metav1.ConditionUnknown {
			in.Backup.Newest = now.Add(-time.Hour)
		}
	}
}

// contested makes a Service contested that is as declared at the moment.
func contested(in *report.Input) {
	in.History.Contested = append(in.History.Contested, finding("Service", "fought", "externalTrafficPolicy", v1alpha1.StateContested))
}

func undeclared(in *report.Input) {
	in.Network, in.Taints, in.Services = report.Section{}, report.Section{}, report.Section{}
	in.Effective = verify.Verdict{Holds: true, Reason: v1alpha1.ReasonNotDeclared, Message: "No component"}
}

// at adds a node in a phase.
func at(node, phase string) edit {
	return func(in *report.Input) {
		in.Rollout.Enactments = append(in.Rollout.Enactments, v1alpha1.ControlPlaneNodeEnactment{
			Spec: v1alpha1.ControlPlaneNodeEnactmentSpec{Policy: "p", Node: node},
			Status: v1alpha1.ControlPlaneNodeEnactmentStatus{
				Conditions: []metav1.Condition{{Type: phase, Status: metav1.ConditionTrue, Message: "because of " + node}},
			},
		})
	}
}

// alike gives all nodes the same message.
func alike(nodes ...edit) edit {
	return func(in *report.Input) {
		for _, node := range nodes {
			node(in)
		}
		for i := range in.Rollout.Enactments {
			in.Rollout.Enactments[i].Status.Conditions[0].Message = "all alike"
		}
	}
}

func connected(in *report.Input) {
	in.Rollout.ForbiddenConnections = []string{"worker-1 to 10.0.0.1:2379"}
}

func revertedByAnnotation(in *report.Input) {
	in.Policy.Annotations = map[string]string{v1alpha1.AnnotationRevert: "paged"}
}

func overridden(in *report.Input) { in.Verified.Reason = v1alpha1.ReasonOverridden }

func unjudged(in *report.Input) {
	in.Effective = verify.Verdict{Unknown: true, Reason: v1alpha1.ReasonNotJudged, Message: "eBPF is not judged"}
}

func unjudgedHeld(in *report.Input) {
	unjudged(in)
	in.Verified = verify.Verdict{Reason: v1alpha1.ReasonNotJudged, Message: "eBPF is not judged"}
}

// unread is the report on a policy that protects hosts while Calico cannot be read.
func unread(in *report.Input) {
	in.HostObstacle = &backend.Obstacle{Reason: v1alpha1.ReasonCalicoUnavailable, Message: "the API of Calico does not answer"}
	in.Verified = verify.WithHostObstacle(in.Verified, plan.Hosts{Unprotected: in.HostObstacle}, nil)
}

// profileUnknown is the report on a policy whose hosts wait for a profile.
func profileUnknown(in *report.Input) {
	in.Verified = verify.Verdict{Reason: v1alpha1.ReasonProfileUnknown, Message: "the distribution is unknown"}
	in.Hosts = report.Section{Declared: 1}
}

func cut(in *report.Input) {
	in.Verified = verify.Verdict{Reason: v1alpha1.ReasonRequiredFlowCut, Message: "etcd is cut"}
}

// waiting adds a node that is pending for a reason.
func waiting(node, phase, reason string) edit {
	return func(in *report.Input) {
		at(node, phase)(in)
		in.Rollout.Enactments[len(in.Rollout.Enactments)-1].Status.Conditions[0].Reason = reason
	}
}

// Reasons of Verified, of Effective and of unprotected hosts; each one makes a scenario.
var (
	refusals = []string{
		v1alpha1.ReasonNotJudged, v1alpha1.ReasonOperatorCutOff, v1alpha1.ReasonPeerMissing, v1alpha1.ReasonLoadBalancerUnknown,
		v1alpha1.ReasonNetworkPolicyNotEnforced,
	}
	leaks = []string{
		v1alpha1.ReasonFailsafePorts, v1alpha1.ReasonForeignHostEndpoint, v1alpha1.ReasonForeignPolicy, v1alpha1.ReasonForeignService,
		v1alpha1.ReasonAddressesUnknown, v1alpha1.ReasonNetworkPolicyNotEnforced,
	}
	obstacles = []string{
		v1alpha1.ReasonHostBackendNone, v1alpha1.ReasonNotApplicable, v1alpha1.ReasonCalicoNotInstalled, v1alpha1.ReasonCalicoTooLarge,
	}
)

func refused(reason string) edit {
	return func(in *report.Input) { in.Verified = verify.Verdict{Reason: reason, Message: "refused"} }
}

func leaking(reason string) edit {
	return func(in *report.Input) { in.Effective = verify.Verdict{Reason: reason, Message: "without effect"} }
}

func obstructed(reason string) edit {
	return func(in *report.Input) {
		in.HostObstacle = &backend.Obstacle{Reason: reason, Message: "hosts are not protected"}
		in.Verified = verify.WithHostObstacle(in.Verified, plan.Hosts{Unprotected: in.HostObstacle}, nil)
	}
}

// scenarios are the possible states of a policy.
var scenarios = withReasons(map[string][]edit{
	"TLS compliant, backup fresh":            {tls(metav1.ConditionTrue, v1alpha1.ReasonCompliant), backedUp(metav1.ConditionTrue, v1alpha1.ReasonFresh)},
	"TLS not compliant, backup stale":        {tls(metav1.ConditionFalse, v1alpha1.ReasonNotCompliant), backedUp(metav1.ConditionFalse, v1alpha1.ReasonStale)},
	"Audit, TLS not compliant":               {audits, tls(metav1.ConditionFalse, v1alpha1.ReasonNotCompliant)},
	"TLS not probed, no backup":              {tls(metav1.ConditionUnknown, v1alpha1.ReasonNotProbed), backedUp(metav1.ConditionUnknown, v1alpha1.ReasonNoBackup)},
	"as declared":                            nil,
	"nothing declared":                       {undeclared},
	"to be written":                          {network(v1alpha1.StatePending), taint(v1alpha1.StatePending), service(v1alpha1.StatePending)},
	"network drifted":                        {network(v1alpha1.StateDrifted)},
	"taint drifted":                          {taint(v1alpha1.StateDrifted)},
	"Service drifted":                        {service(v1alpha1.StateDrifted)},
	"Service held back":                      {service(v1alpha1.StateHeld)},
	"Service conflicted":                     {service(v1alpha1.StateConflicted)},
	"Service not applicable":                 {service(v1alpha1.StateNotApplicable)},
	"Service without endpoints":              {service(v1alpha1.StateEndpointsMissing)},
	"Service without endpoints, pending":     {service(v1alpha1.StateEndpointsMissing), service(v1alpha1.StatePending)},
	"Audit, Service without endpoints":       {audits, service(v1alpha1.StateEndpointsMissing)},
	"Service forced":                         {service(v1alpha1.StateForced)},
	"Service contested":                      {contested},
	"taint drifted, Service held back":       {taint(v1alpha1.StateDrifted), service(v1alpha1.StateHeld)},
	"Audit as declared":                      {audits},
	"Audit drifted":                          {audits, network(v1alpha1.StateDrifted), taint(v1alpha1.StateDrifted)},
	"Audit held back":                        {audits, service(v1alpha1.StateHeld)},
	"Audit lost":                             {audits, lost},
	"Audit after failures":                   {audits, failing},
	"suspended as declared":                  {suspended},
	"suspended with differences":             {suspended, taint(v1alpha1.StatePending), service(v1alpha1.StateDrifted)},
	"suspended without nodes":                {suspended, noNodes},
	"invalid":                                {invalid},
	"invalid and drifted":                    {invalid, taint(v1alpha1.StateDrifted)},
	"no node":                                {noNodes},
	"empty peer set":                         {emptyPeers},
	"empty peer set, taint to be written":    {emptyPeers, taint(v1alpha1.StatePending)},
	"lost to another":                        {lost},
	"lost to another, rest to be written":    {lost, taint(v1alpha1.StatePending)},
	"name taken":                             {taken},
	"write failed":                           {failing, service(v1alpha1.StatePending)},
	"pods on the network of their node":      {evaded},
	"being deleted":                          {deleted, remaining},
	"deleted but for the finalizer":          {deleted},
	"being deleted while suspended":          {deleted, suspended, remaining},
	"deleted, finalizer refused":             {deleted, failing},
	"being deleted, write failed":            {deleted, remaining, failing},
	"rolling out":                            {at("cp-1", "Enforced"), at("cp-2", "Progressing"), at("cp-3", "Pending")},
	"rollout failed":                         {at("cp-1", "Enforced"), at("cp-2", "Reverted"), at("cp-3", "Aborted")},
	"all nodes enforced":                     {at("cp-1", "Enforced"), at("cp-2", "Enforced")},
	"forbidden connection":                   {at("cp-1", "Enforced"), connected},
	"reverted by annotation":                 {revertedByAnnotation},
	"reverted by annotation while suspended": {revertedByAnnotation, suspended, remaining},
	"overridden":                             {overridden},
	"required flow cut":                      {cut},
	"Calico unread":                          {unread},
	"Calico unread, to be written":           {unread, network(v1alpha1.StatePending)},
	"Calico unread, drifted":                 {unread, service(v1alpha1.StateDrifted)},
	"Audit, Calico unread, to be written":    {audits, unread, network(v1alpha1.StatePending)},
	"profile unknown":                        {profileUnknown},
	"profile unknown, to be written":         {profileUnknown, network(v1alpha1.StatePending)},
	"not judged":                             {unjudged},
	"not judged, overridden":                 {unjudged, overridden},
	"not judged, to be written":              {unjudged, network(v1alpha1.StatePending)},
	"not judged, rolling out":                {unjudged, overridden, at("cp-1", "Progressing")},
	"not judged, reverted by annotation":     {unjudged, revertedByAnnotation},
	"not judged, held":                       {unjudgedHeld},
	"Audit not judged":                       {audits, unjudgedHeld},
	"waiting for a person on every node": {
		at("cp-1", "Enforced"), waiting("cp-2", "Pending", v1alpha1.ReasonNoQuorumToSpare),
	},
	"waiting for a person on one node of two": {
		waiting("cp-1", "Pending", v1alpha1.ReasonForeignHostEndpoint), waiting("cp-2", "Pending", v1alpha1.ReasonQueued),
	},
	"awaiting a confirmation":          {waiting("cp-1", "Progressing", v1alpha1.ReasonAwaitingConfirmation)},
	"enactment refused":                {failing},
	"Calico unread, Service held back": {unread, service(v1alpha1.StateHeld)},
})

// withReasons adds the scenarios that are made from a reason.
func withReasons(all map[string][]edit) map[string][]edit {
	for _, reason := range refusals {
		all["refused: "+reason] = []edit{refused(reason)}
	}
	for _, reason := range leaks {
		all["without effect: "+reason] = []edit{leaking(reason)}
		all["Audit, without effect: "+reason] = []edit{audits, leaking(reason)}
	}
	for _, reason := range obstacles {
		all["hosts unprotected: "+reason] = []edit{obstructed(reason)}
		all["Audit, hosts unprotected: "+reason] = []edit{audits, obstructed(reason)}
	}
	return all
}

// statusOf returns the reported status as the API server returns it.
func statusOf(in report.Input) v1alpha1.ControlPlaneNetworkPolicyStatus {
	return stored(report.StatusOf(in))
}

func many(count int, edit func(i int, in *report.Input)) edit {
	return func(in *report.Input) {
		for i := range count {
			edit(i, in)
		}
	}
}

func nth(i int) string { return fmt.Sprintf("%04d", i) }
