// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/intent"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// conditions are the conditions of a policy. A condition without a status is left out
// of the report.
type conditions struct {
	accepted, verified, programmed, effective, taints, traffic, drifted metav1.Condition
	tls, backup                                                         metav1.Condition
	ready, reconciling, stalled                                         metav1.Condition
}

func conditionsOf(in Input) conditions {
	c := conditions{
		accepted:   acceptedCondition(in),
		verified:   verifiedCondition(in),
		programmed: programmedCondition(in),
		effective:  effectiveCondition(in),
		taints:     inSyncCondition(v1alpha1.ConditionTaintsInSync, in.Taints, "taint"),
		traffic:    inSyncCondition(v1alpha1.ConditionTrafficPoliciesInSync, in.Services, "Service"),
		drifted:    driftedCondition(in),
		tls:        tlsCondition(in),
		backup:     backupCondition(in),
	}
	c.ready, c.reconciling, c.stalled = verdictOf(in, c).ToConditions()
	return c
}

func (c conditions) inOrder() []metav1.Condition {
	return []metav1.Condition{
		c.ready, c.reconciling, c.stalled,
		c.accepted, c.verified, c.programmed, c.effective, c.taints, c.traffic, c.drifted, c.tls, c.backup,
	}
}

func conditionTrue(kind, reason, message string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: reason, Message: message}
}

func conditionFalse(kind, reason, message string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: metav1.ConditionFalse, Reason: reason, Message: message}
}

func conditionUnknown(kind, reason, message string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: metav1.ConditionUnknown, Reason: reason, Message: message}
}

func acceptedCondition(in Input) metav1.Condition {
	const kind = v1alpha1.ConditionAccepted
	switch {
	case in.Policy.Invalid != nil:
		return conditionFalse(kind, v1alpha1.ReasonInvalidSelector,
			in.Policy.Invalid.Error()+": correct the selector; until then nothing is written")
	case in.Verified.Reason == v1alpha1.ReasonNoMatchingNodes:
		return conditionFalse(kind, in.Verified.Reason, in.Verified.Message)
	case len(in.Losses) > 0:
		return conditionFalse(kind, v1alpha1.ReasonConflicted,
			"Older policies claim the same, so nothing is written there for this policy: "+describeLosses(in.Losses))
	case len(in.ForeignNames) > 0:
		return conditionFalse(kind, v1alpha1.ReasonConflicted,
			"Foreign objects have names that the policy needs; rename or delete them: "+wording.ListPoints(in.ForeignNames))
	}
	return conditionTrue(kind, v1alpha1.ReasonAccepted, "The operator can act on the policy")
}

func describeLosses(losses []plan.Loss) string {
	lines := make([]string, 0, len(losses))
	for _, loss := range losses {
		lines = append(lines, fmt.Sprintf("%s is claimed by %s", loss.What, loss.Winner))
	}
	slices.Sort(lines)
	return wording.ListPoints(lines)
}

func verifiedCondition(in Input) metav1.Condition {
	condition := conditionFalse
	switch {
	case in.Verified.Holds:
		condition = conditionTrue
	case in.Verified.Unknown:
		condition = conditionUnknown
	}
	return condition(v1alpha1.ConditionVerified, in.Verified.Reason, in.Verified.Message)
}

// programmedCondition tells whether the whole declaration is written. Held fields, and
// fields declared by another manager, are not written.
func programmedCondition(in Input) metav1.Condition {
	const kind = v1alpha1.ConditionProgrammed
	reason, findings := mostUrgent(findingsToWrite(in.allFindings()))
	switch {
	case len(in.History.Failures) > 0 && (in.Policy.Enforces() || in.Policy.Deleting()):
		return conditionFalse(kind, v1alpha1.ReasonApplyFailed, wording.ListPoints(in.History.Failures))
	case in.Policy.Intent() == intent.RollBack:
		return conditionFalse(kind, v1alpha1.ReasonRolledBack, describeRollBack(in))
	case reason == "":
		return programmedWhenWritten(in)
	}
	if why, message := reasonNotWriting(in); why != "" {
		return conditionFalse(kind, why, message)
	}
	if reason == v1alpha1.ReasonDrifted {
		reason = v1alpha1.ReasonPending
	}
	return conditionFalse(kind, reason, describeFindings(findings))
}

// programmedWhenWritten is programmedCondition without findings about objects to write.
func programmedWhenWritten(in Input) metav1.Condition {
	const kind = v1alpha1.ConditionProgrammed
	switch {
	case in.HostObstacle != nil:
		return conditionFalse(kind, in.HostObstacle.Reason, in.HostObstacle.Message)
	case rolloutReason(in) != "" && in.Policy.Enforces():
		return conditionFalse(kind, rolloutReason(in), describeNodes(in))
	case rolloutReason(in) == "" && len(in.Losses) == 0 && len(in.ForeignNames) == 0 && !isHeld(in):
		return conditionTrue(kind, v1alpha1.ReasonAsDeclared, "Everything declared is in place")
	}
	if why, message := reasonNotWriting(in); why != "" {
		return conditionFalse(kind, why, message)
	}
	if isHeld(in) {
		return conditionFalse(kind, v1alpha1.ReasonNotVerified,
			"Objects for hosts are not written until the policy is verified: see condition Verified")
	}
	return conditionFalse(kind, v1alpha1.ReasonConflicted,
		"Objects that older policies claim, or that are foreign, are not written: see condition Accepted")
}

// isHeld tells whether declared objects are missing that cannot be rendered now.
func isHeld(in Input) bool {
	return in.Network.InSync < in.Network.Declared || in.Hosts.InSync < in.Hosts.Declared
}

// reasonNotWriting returns why no object is written, empty if objects may be written.
func reasonNotWriting(in Input) (reason, message string) {
	switch {
	case in.Policy.Intent() == intent.Suspend:
		return v1alpha1.ReasonSuspended, "spec.suspend is set, so nothing is written; " +
			wording.CountOf(len(in.allFindings()), "difference") + " left alone"
	case in.Policy.Spec.Mode != v1alpha1.ModeEnforce && !in.Verified.HoldsOffHosts():
		return v1alpha1.ReasonAudit, "spec.mode is Audit; Enforce would write nothing either until the policy is verified"
	case in.Policy.Spec.Mode != v1alpha1.ModeEnforce:
		return v1alpha1.ReasonAudit, "spec.mode is Audit; Enforce would write " + wording.CountOf(objectsToWrite(in), "object")
	case !in.Verified.HoldsOffHosts():
		return v1alpha1.ReasonNotVerified, "Nothing is written until the policy is verified: see condition Verified"
	}
	return "", ""
}

func objectsToWrite(in Input) int {
	objects := map[any]bool{}
	for _, f := range in.allFindings() {
		if f.State == v1alpha1.StateDrifted || f.State == v1alpha1.StatePending {
			objects[f.Object] = true
		}
	}
	return len(objects)
}

func effectiveCondition(in Input) metav1.Condition {
	const kind = v1alpha1.ConditionEffective
	switch {
	case in.Policy.Intent() == intent.RollBack:
		return conditionFalse(kind, v1alpha1.ReasonRolledBack, describeRollBack(in))
	case in.HostObstacle != nil:
		return conditionFalse(kind, in.HostObstacle.Reason, in.HostObstacle.Message)
	case in.Effective.Unknown:
		return conditionUnknown(kind, in.Effective.Reason, in.Effective.Message)
	case !in.Effective.Holds:
		return conditionFalse(kind, in.Effective.Reason, in.Effective.Message)
	case rolloutReason(in) != "":
		return conditionFalse(kind, v1alpha1.ReasonNotProgrammed, describeNodes(in))
	case len(in.Rollout.ForbiddenConnections) > 0:
		return conditionFalse(kind, v1alpha1.ReasonProbeConnected,
			"Connections were made although they are declared closed: "+wording.ListPoints(in.Rollout.ForbiddenConnections))
	case in.Hosts.InSync < in.Hosts.Declared:
		return conditionFalse(kind, v1alpha1.ReasonNotProgrammed,
			fmt.Sprintf("%d of %d Calico objects are not in place", in.Hosts.Declared-in.Hosts.InSync, in.Hosts.Declared))
	case in.Network.InSync < in.Network.Declared:
		return conditionFalse(kind, v1alpha1.ReasonNotProgrammed,
			fmt.Sprintf("%d of %d NetworkPolicies are not in place", in.Network.Declared-in.Network.InSync, in.Network.Declared))
	}
	return conditionTrue(kind, in.Effective.Reason, in.Effective.Message)
}

func inSyncCondition(kind string, section Section, what string) metav1.Condition {
	reason, findings := mostUrgent(section.Findings)
	switch {
	case reason != "":
		return conditionFalse(kind, reason, fmt.Sprintf("%d of %d in sync: %s", section.InSync, section.Declared, describeFindings(findings)))
	case section.Declared == 0:
		return conditionTrue(kind, v1alpha1.ReasonNotDeclared, "The policy declares no "+what)
	}
	message := fmt.Sprintf("%d of %d in sync", section.InSync, section.Declared)
	if notApplicable := findingsInState(section.Findings, v1alpha1.StateNotApplicable); len(notApplicable) > 0 {
		message += "; not applicable: " + describeFindings(notApplicable)
	}
	if forced := findingsInState(section.Findings, v1alpha1.StateForced); len(forced) > 0 {
		message += "; forced: " + describeFindings(forced)
	}
	return conditionTrue(kind, v1alpha1.ReasonAsDeclared, message)
}

func driftedCondition(in Input) metav1.Condition {
	const kind = v1alpha1.ConditionDrifted
	reason, findings := mostUrgent(in.allFindings())
	switch reason {
	case v1alpha1.ReasonContested, v1alpha1.ReasonConflicted, v1alpha1.ReasonDrifted:
		return conditionTrue(kind, reason, describeFindings(findings))
	}
	return conditionFalse(kind, v1alpha1.ReasonNoDrift, "No drift was found")
}
