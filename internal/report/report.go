// SPDX-License-Identifier: Apache-2.0

// Package report turns the findings about a policy into the status of the policy, with
// one function for each condition. The package is pure.
package report

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/backup"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/posture"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
	"github.com/cpnp-dev/cpnp-operator/internal/verdict"
	"github.com/cpnp-dev/cpnp-operator/internal/verify"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// Input is the complete input of a status.
type Input struct {
	Policy *plan.Policy
	// MatchedNodes is the number of nodes selected by the policy.
	MatchedNodes int
	// PodsToEvict is the number of pods that missing NoExecute taints would evict.
	PodsToEvict int
	// Verified and Effective are the verdicts of package verify.
	Verified, Effective verify.Verdict
	// Losses are the claims of the policy on fields claimed by older policies.
	Losses []plan.Loss
	// ForeignNames are foreign objects with names that the policy needs.
	ForeignNames []string
	// Profile is the profile of the cluster, nil where the profile does not matter.
	Profile *v1alpha1.ResolvedProfile
	// APIServers are the addresses that API servers have, or had until recently.
	APIServers []v1alpha1.APIServerAddress
	// HostObstacle is the reason why the hosts are not protected, nil if there is none.
	HostObstacle *backend.Obstacle
	// KeepHostCount tells whether the count of Calico objects stays as in the last
	// status, because Calico cannot be read or the objects are being rolled back. The
	// count then tells how many objects have to be rolled back.
	KeepHostCount bool
	// Network, Hosts, Taints and Services are the parts of the posture.
	Network, Hosts, Taints, Services Section
	// Rollout is the decision of package rollout, empty without a rollout.
	Rollout rollout.Decision
	// TLS is the verdict on the TLS of the control plane, nil if the policy declares none.
	TLS *posture.Verdict
	// Backup is the verdict on the backups of etcd, nil if the policy declares none.
	Backup *backup.Verdict
	// History sums up recent repairs, failures and contests.
	History drift.Summary
	// Remaining are the objects that deletion or a roll back still has to restore.
	Remaining []string
	// OldRecordsLeft tells whether records of an earlier version are still on Nodes.
	OldRecordsLeft bool
	// Now is the time of the report.
	Now metav1.Time

	// findings are those of all sections, sorted once: see allFindings.
	findings []drift.Finding
}

// Section is one part of the posture.
type Section struct {
	// Declared counts the declared objects, InSync the objects found as declared.
	Declared, InSync int
	// Findings are the differences.
	Findings []drift.Finding
}

// StatusOf returns the status of the policy. Without a change, the result equals the
// last status.
func StatusOf(in Input) v1alpha1.ControlPlaneNetworkPolicyStatus {
	in.markContested()
	old := in.Policy.Status
	status := v1alpha1.ControlPlaneNetworkPolicyStatus{
		Conditions:         slices.Clone(old.Conditions),
		ObservedGeneration: in.Policy.Generation,
		MatchedNodes:       toInt32(in.MatchedNodes),
		PodsToEvict:        toInt32(in.PodsToEvict),
		Profile:            profileOf(in.Profile),
		APIServers:         reportedAPIServers(in),
		NetworkPolicies:    syncCount(in.Network),
		HostPolicies:       syncCount(in.Hosts),
		Nodes:              rollout.CountPhases(in.Rollout.Enactments),
		Taints:             syncCount(in.Taints),
		Services:           syncCount(in.Services),
		Posture:            postureStatus(in),
		DriftedObjects:     toInt32(driftedObjects(in.allFindings())),
		Drift:              newDriftList(in.allFindings()),
		LastDrift:          old.LastDrift,
		LastDriftTime:      old.LastDriftTime,
		RecordFormat:       old.RecordFormat,
	}
	if !in.OldRecordsLeft {
		status.RecordFormat = drift.RecordFormat
	}
	if isNewRepair(in.History, old.LastDriftTime) {
		status.LastDrift = ptr.To(newDriftEntry(*in.History.Last))
		status.LastDriftTime = ptr.To(metav1.NewTime(in.History.LastTime).Rfc3339Copy())
	}
	if in.KeepHostCount && old.HostPolicies.Declared != nil {
		status.HostPolicies = old.HostPolicies
	}
	setConditions(&status.Conditions, in)
	return status
}

// reportedAPIServers returns the addresses of API servers. While a policy is rolled back
// the addresses are not read, and stay as in the last status.
func reportedAPIServers(in Input) []v1alpha1.APIServerAddress {
	if in.APIServers == nil && in.Policy.Spec.Network != nil {
		return in.Policy.Status.APIServers
	}
	return in.APIServers
}

// isNewRepair tells whether the latest repair has to be reported. A repair that was
// reported before is new only if the status is older: another operator may have
// reported a later repair since.
func isNewRepair(repairs drift.Summary, told *metav1.Time) bool {
	return repairs.Last != nil && (repairs.Count > 0 || told == nil || repairs.LastTime.Truncate(time.Second).After(told.Time))
}

// UnknownStatus returns the status of a policy while the cluster cannot be read.
func UnknownStatus(policy *plan.Policy, cause error, now metav1.Time) v1alpha1.ControlPlaneNetworkPolicyStatus {
	status := *policy.Status.DeepCopy()
	if status.ObservedGeneration <= 0 { // No earlier version of the operator has served the policy.
		status.RecordFormat = drift.RecordFormat
	}
	status.ObservedGeneration = policy.Generation
	ready, reconciling, stalled := verdict.Verdict{
		Outcome: verdict.InProgress, Reason: v1alpha1.ReasonObserving, Unknown: true,
		Message: "The operator cannot read the cluster, and tries again: " + cause.Error(),
	}.ToConditions()
	writeConditions(&status.Conditions, []metav1.Condition{ready, reconciling, stalled}, policy.Generation, now)
	return status
}

// markContested marks the contested findings, and adds contested fields that are as
// declared at the moment.
func (in *Input) markContested() {
	for _, contested := range in.History.Contested {
		section := in.sectionOf(contested.Object.Kind)
		section.Findings = slices.Clone(section.Findings)
		same := func(f drift.Finding) bool { return f.Object == contested.Object && f.Field == contested.Field }
		if i := slices.IndexFunc(section.Findings, same); i >= 0 {
			if section.Findings[i].State != v1alpha1.StateConflicted { // A conflicted field is no longer written.
				section.Findings[i].State = v1alpha1.StateContested
			}
			continue
		}
		section.Findings = append(section.Findings, contested)
		slices.SortFunc(section.Findings, drift.CompareFindings)
	}
}

// sectionOf returns the part of the posture for a kind of object.
func (in *Input) sectionOf(kind string) *Section {
	switch kind {
	case "Node":
		return &in.Taints
	case "Service":
		return &in.Services
	case "NetworkPolicy":
		return &in.Network
	default:
		return &in.Hosts
	}
}

// allFindings returns the findings of all sections, sorted. NetworkPolicies come in the
// order of the components.
func (in *Input) allFindings() []drift.Finding {
	if in.findings == nil {
		in.findings = slices.Concat(in.Network.Findings, in.Hosts.Findings, in.Taints.Findings, in.Services.Findings)
		slices.SortStableFunc(in.findings, drift.CompareFindings)
	}
	return in.findings
}

func setConditions(conditions *[]metav1.Condition, in Input) {
	writeConditions(conditions, conditionsOf(in).inOrder(), in.Policy.Generation, in.Now)
}

// writeConditions writes conditions for a generation. A condition without a status is
// removed.
func writeConditions(conditions *[]metav1.Condition, desired []metav1.Condition, generation int64, now metav1.Time) {
	for _, condition := range desired {
		if condition.Status == "" {
			meta.RemoveStatusCondition(conditions, condition.Type)
			continue
		}
		condition.ObservedGeneration = generation
		condition.LastTransitionTime = now
		condition.Message = wording.OneLine(condition.Message, maxMessage)
		meta.SetStatusCondition(conditions, condition)
	}
}

// maxMessage is the maximum length in bytes of the message of a condition. The API allows
// 32 KiB, more than people read. The facts about a policy, with lines to paste,
// fit into the limit.
const maxMessage = 2048

// profileOf returns the profile with reasons cut to the length allowed by the API.
func profileOf(found *v1alpha1.ResolvedProfile) *v1alpha1.ResolvedProfile {
	if found == nil {
		return nil
	}
	const maxReason = 512
	out := found.DeepCopy()
	out.DistributionReason = wording.OneLine(out.DistributionReason, maxReason)
	out.CNIReason = wording.OneLine(out.CNIReason, maxReason)
	return out
}

func toInt32(n int) *int32 { return ptr.To(int32(n)) }

func syncCount(s Section) v1alpha1.SyncCount {
	return v1alpha1.SyncCount{Declared: toInt32(s.Declared), InSync: toInt32(s.InSync)}
}
