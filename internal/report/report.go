// SPDX-License-Identifier: Apache-2.0

// Package report turns what was found out about a policy into its status: one
// function for each condition. It is pure.
package report

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
	"github.com/cpnp-dev/cpnp-operator/internal/verify"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// Input is all that a status is made from.
type Input struct {
	Policy *plan.Policy
	// MatchedNodes is how many nodes the policy selects.
	MatchedNodes int
	// PodsToEvict is how many pods its missing NoExecute taints would evict.
	PodsToEvict int
	// Verified and Effective are the verifier's verdicts.
	Verified, Effective verify.Verdict
	// Losses are what older policies claim.
	Losses []plan.Loss
	// Taken are names that the policy needs and that belong to others.
	ForeignNames []string
	// Profile is what kind of cluster it is taken for; nil where that does not
	// matter.
	Profile *v1alpha1.ResolvedProfile
	// APIServers are the addresses that API servers have, or had not long ago.
	APIServers []v1alpha1.APIServerAddress
	// Unprotected says why nothing protects the hosts; nil otherwise.
	HostObstacle *plan.Obstacle
	// HostsUnseen says that Calico's objects can not be looked at, or are being
	// taken back: their count stays as it was, which tells what there is to be
	// taken back.
	KeepHostCount bool
	// Network, Hosts, Taints and Services are the parts of the posture.
	Network, Hosts, Taints, Services Section
	// Rollout is how far the nodes are; empty where nothing is rolled out.
	Rollout rollout.Decision
	// History is what happened lately.
	History drift.Summary
	// Remaining are the objects that deletion still has to restore.
	Remaining []string
	// RecordsUnmoved says that records of an earlier version are still on Nodes.
	OldRecordsLeft bool
	// Now is when the report is made.
	Now metav1.Time
}

// Section is one part of the posture.
type Section struct {
	// Declared counts what is called for, InSync what of it is as declared.
	Declared, InSync int
	// Findings are the differences.
	Findings []drift.Finding
}

// Status returns the policy's status. Where nothing has changed since the last
// one, the result equals it.
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

// apiServers returns the addresses of API servers; while a policy is rolled back they
// are not looked at, and stay as they were.
func reportedAPIServers(in Input) []v1alpha1.APIServerAddress {
	if in.APIServers == nil && in.Policy.Spec.Network != nil {
		return in.Policy.Status.APIServers
	}
	return in.APIServers
}

// isNews says whether the latest repair is to be told. One that was told before
// is not, unless the status is older: another operator may have told of a later
// one since.
func isNewRepair(repairs drift.Summary, told *metav1.Time) bool {
	return repairs.Last != nil && (repairs.Count > 0 || told == nil || repairs.LastTime.Truncate(time.Second).After(told.Time))
}

// Unknown returns the status of a policy of which nothing could be found out.
func UnknownStatus(policy *plan.Policy, cause error, now metav1.Time) v1alpha1.ControlPlaneNetworkPolicyStatus {
	status := *policy.Status.DeepCopy()
	if status.ObservedGeneration == 0 { // no earlier version has served it
		status.RecordFormat = drift.RecordFormat
	}
	status.ObservedGeneration = policy.Generation
	meta.SetStatusCondition(&status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionUnknown, Reason: v1alpha1.ReasonObserving,
		Message:            wording.Line("The cluster could not be looked at: "+cause.Error(), maxMessage),
		ObservedGeneration: policy.Generation, LastTransitionTime: now,
	})
	return status
}

// contest marks the findings that are fought over, and adds those that are
// fought over but happen to be as declared now.
func (in *Input) markContested() {
	for _, contested := range in.History.Contested {
		section := in.sectionOf(contested.Object.Kind)
		section.Findings = slices.Clone(section.Findings)
		same := func(f drift.Finding) bool { return f.Object == contested.Object && f.Field == contested.Field }
		if i := slices.IndexFunc(section.Findings, same); i >= 0 {
			if section.Findings[i].State != v1alpha1.StateConflicted { // that is left alone by now
				section.Findings[i].State = v1alpha1.StateContested
			}
			continue
		}
		section.Findings = append(section.Findings, contested)
		slices.SortFunc(section.Findings, drift.Compare)
	}
}

// section returns the part of the posture that a kind of object belongs to.
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

// findings are those of all sections, sorted: NetworkPolicies come in the order
// of the components.
func (in *Input) allFindings() []drift.Finding {
	return slices.SortedStableFunc(slices.Values(
		slices.Concat(in.Network.Findings, in.Hosts.Findings, in.Taints.Findings, in.Services.Findings)), drift.Compare)
}

func setConditions(conditions *[]metav1.Condition, in Input) {
	c := conditionsOf(in)
	for _, condition := range c.inOrder() {
		if condition.Status == "" {
			meta.RemoveStatusCondition(conditions, condition.Type)
			continue
		}
		condition.ObservedGeneration = in.Policy.Generation
		condition.LastTransitionTime = in.Now
		condition.Message = wording.Line(condition.Message, maxMessage)
		meta.SetStatusCondition(conditions, condition)
	}
}

// maxMessage is how long a condition's message may be, in bytes; the API allows
// 32 KiB, and nobody reads that. What there is to know of a policy has room, with lines
// to paste.
const maxMessage = 2048

// profileOf returns the profile with its reasons as long as the API allows.
func profileOf(found *v1alpha1.ResolvedProfile) *v1alpha1.ResolvedProfile {
	if found == nil {
		return nil
	}
	const maxReason = 512
	out := found.DeepCopy()
	out.DistributionReason = wording.Line(out.DistributionReason, maxReason)
	out.CNIReason = wording.Line(out.CNIReason, maxReason)
	return out
}

func toInt32(n int) *int32 { return ptr.To(int32(n)) }

func syncCount(s Section) v1alpha1.SyncCount {
	return v1alpha1.SyncCount{Declared: toInt32(s.Declared), InSync: toInt32(s.InSync)}
}
