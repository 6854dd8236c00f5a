// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// conditions are the conditions of a policy. One without a status is left out.
type conditions struct {
	accepted, verified, programmed, effective, taints, traffic, drifted metav1.Condition
	ready, reconciling, stalled                                         metav1.Condition
}

func conditionsOf(in Input) conditions {
	c := conditions{
		accepted:   accepted(in),
		verified:   verified(in),
		programmed: programmed(in),
		effective:  effective(in),
		taints:     inSync(v1alpha1.ConditionTaintsInSync, in.Taints, "taint"),
		traffic:    inSync(v1alpha1.ConditionTrafficPoliciesInSync, in.Services, "Service"),
		drifted:    drifted(in),
	}
	c.ready = ready(in, c)
	c.stalled = stalled(in, c)
	c.reconciling = reconciling(in, c)
	return c
}

func (c conditions) all() []metav1.Condition {
	return []metav1.Condition{
		c.ready, c.reconciling, c.stalled,
		c.accepted, c.verified, c.programmed, c.effective, c.taints, c.traffic, c.drifted,
	}
}

func yes(kind, reason, message string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: reason, Message: message}
}

func no(kind, reason, message string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: metav1.ConditionFalse, Reason: reason, Message: message}
}

func unknown(kind, reason, message string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: metav1.ConditionUnknown, Reason: reason, Message: message}
}

func absent(kind string) metav1.Condition { return metav1.Condition{Type: kind} }

func accepted(in Input) metav1.Condition {
	const kind = v1alpha1.ConditionAccepted
	switch {
	case in.Policy.Invalid != nil:
		return no(kind, v1alpha1.ReasonInvalidSelector, in.Policy.Invalid.Error()+": correct the selector; until then nothing is written")
	case in.Verified.Reason == v1alpha1.ReasonNoMatchingNodes:
		return no(kind, in.Verified.Reason, in.Verified.Message)
	case len(in.Losses) > 0:
		return no(kind, v1alpha1.ReasonClaimedByOlderPolicy,
			"Older policies decide, and nothing is written there for this one: "+tellLosses(in.Losses))
	case len(in.Taken) > 0:
		return no(kind, v1alpha1.ReasonNameTaken,
			"These objects exist and are not the operator's: rename or delete them: "+wording.Points(in.Taken))
	}
	return yes(kind, v1alpha1.ReasonAccepted, "The policy can be acted on")
}

func tellLosses(losses []plan.Loss) string {
	lines := make([]string, 0, len(losses))
	for _, loss := range losses {
		lines = append(lines, fmt.Sprintf("%s is claimed by %s", loss.What, loss.Winner))
	}
	slices.Sort(lines)
	return wording.Points(lines)
}

func verified(in Input) metav1.Condition {
	if !in.Verified.Holds {
		return no(v1alpha1.ConditionVerified, in.Verified.Reason, in.Verified.Message)
	}
	return yes(v1alpha1.ConditionVerified, in.Verified.Reason, in.Verified.Message)
}

// programmed says whether everything is written. What is held back or declared
// by others is not.
func programmed(in Input) metav1.Condition {
	const kind = v1alpha1.ConditionProgrammed
	reason, findings := worst(unwritten(in.findings()))
	switch {
	case len(in.History.Failures) > 0 && (in.Policy.Enforces() || in.Policy.Deleting()):
		return no(kind, v1alpha1.ReasonApplyFailed, wording.Points(in.History.Failures))
	case in.Policy.TakenBack() != "":
		return no(kind, v1alpha1.ReasonTakenBack, takenBack(in))
	case reason == "":
		return asWritten(in)
	}
	if why, message := notWriting(in); why != "" {
		return no(kind, why, message)
	}
	if reason == v1alpha1.ReasonDrifted {
		reason = v1alpha1.ReasonPending
	}
	return no(kind, reason, tell(findings))
}

// asWritten is programmed where nothing differs from what may be written now.
func asWritten(in Input) metav1.Condition {
	const kind = v1alpha1.ConditionProgrammed
	switch {
	case in.Unprotected != nil:
		return no(kind, in.Unprotected.Reason, in.Unprotected.Message)
	case unfinished(in) != "" && in.Policy.Enforces():
		return no(kind, unfinished(in), tellNodes(in))
	case unfinished(in) == "" && len(in.Losses) == 0 && len(in.Taken) == 0:
		return yes(kind, v1alpha1.ReasonProgrammed, "Everything declared is in place")
	}
	if why, message := notWriting(in); why != "" {
		return no(kind, why, message)
	}
	return no(kind, v1alpha1.ReasonConflicted, "What others claim or own is not written")
}

// notWriting returns why nothing at all is written; empty if something may be.
func notWriting(in Input) (reason, message string) {
	switch {
	case in.Policy.Spec.Suspend:
		return v1alpha1.ReasonSuspended, "spec.suspend is set; " + wording.Count(len(in.findings()), "difference") + " left alone"
	case in.Policy.Spec.Mode != v1alpha1.ModeEnforce && !in.Verified.Holds:
		return v1alpha1.ReasonAudit, "mode is Audit; Enforce would write nothing either, until the policy is verified"
	case in.Policy.Spec.Mode != v1alpha1.ModeEnforce:
		return v1alpha1.ReasonAudit, "mode is Audit; Enforce would write " + wording.Count(objectsToWrite(in), "object")
	case !in.Verified.Holds:
		return v1alpha1.ReasonNotVerified, "Nothing is written until the policy is verified"
	}
	return "", ""
}

func objectsToWrite(in Input) int {
	objects := map[any]bool{}
	for _, f := range in.findings() {
		if f.State == v1alpha1.StateDrifted || f.State == v1alpha1.StatePending {
			objects[f.Object] = true
		}
	}
	return len(objects)
}

func effective(in Input) metav1.Condition {
	const kind = v1alpha1.ConditionEffective
	switch {
	case in.Policy.TakenBack() != "":
		return no(kind, v1alpha1.ReasonTakenBack, takenBack(in))
	case in.Unprotected != nil:
		return no(kind, in.Unprotected.Reason, in.Unprotected.Message)
	case in.Effective.Unknown:
		return unknown(kind, in.Effective.Reason, in.Effective.Message)
	case !in.Effective.Holds:
		return no(kind, in.Effective.Reason, in.Effective.Message)
	case unfinished(in) != "":
		return no(kind, v1alpha1.ReasonNotProgrammed, tellNodes(in))
	case len(in.Rollout.Connected) > 0:
		return no(kind, v1alpha1.ReasonProbeConnected, "Connections were made that are declared closed: "+wording.Points(in.Rollout.Connected))
	case in.Hosts.InSync < in.Hosts.Declared:
		return no(kind, v1alpha1.ReasonNotProgrammed,
			fmt.Sprintf("%d of %d objects of Calico are not in place", in.Hosts.Declared-in.Hosts.InSync, in.Hosts.Declared))
	case in.Network.InSync < in.Network.Declared:
		return no(kind, v1alpha1.ReasonNotProgrammed,
			fmt.Sprintf("%d of %d NetworkPolicies are not in place", in.Network.Declared-in.Network.InSync, in.Network.Declared))
	}
	return yes(kind, in.Effective.Reason, in.Effective.Message)
}

func inSync(kind string, section Section, what string) metav1.Condition {
	reason, findings := worst(section.Findings)
	switch {
	case reason != "":
		return no(kind, reason, fmt.Sprintf("%d of %d in sync: %s", section.InSync, section.Declared, tell(findings)))
	case section.Declared == 0:
		return yes(kind, v1alpha1.ReasonNotDeclared, "The policy calls for no "+what)
	}
	message := fmt.Sprintf("%d of %d in sync", section.InSync, section.Declared)
	if notApplicable := ofState(section.Findings, v1alpha1.StateNotApplicable); len(notApplicable) > 0 {
		message += "; not applicable: " + tell(notApplicable)
	}
	if forced := ofState(section.Findings, v1alpha1.StateForced); len(forced) > 0 {
		message += "; forced: " + tell(forced)
	}
	return yes(kind, v1alpha1.ReasonInSync, message)
}

func drifted(in Input) metav1.Condition {
	const kind = v1alpha1.ConditionDrifted
	reason, findings := worst(in.findings())
	switch reason {
	case v1alpha1.ReasonContested, v1alpha1.ReasonConflicted, v1alpha1.ReasonDrifted:
		return yes(kind, reason, tell(findings))
	}
	return no(kind, v1alpha1.ReasonNoDrift, "Nothing was changed by others")
}

// ready is the summary: the first thing that stands in the way, the one that
// most needs somebody to do something before the others.
func ready(in Input, c conditions) metav1.Condition {
	const kind = v1alpha1.ConditionReady
	switch {
	case in.Policy.Deleting():
		return no(kind, v1alpha1.ReasonDeleting, deleting(in))
	case in.Policy.TakenBack() != "":
		return no(kind, v1alpha1.ReasonTakenBack, takenBack(in))
	case in.Policy.Spec.Suspend:
		return no(kind, v1alpha1.ReasonSuspended, "spec.suspend is set: nothing is written, and what is there stays")
	case c.programmed.Reason == v1alpha1.ReasonApplyFailed:
		return no(kind, c.programmed.Reason, c.programmed.Message)
	case c.drifted.Status == metav1.ConditionTrue && c.accepted.Status == metav1.ConditionTrue && c.verified.Status == metav1.ConditionTrue:
		return no(kind, c.drifted.Reason, c.drifted.Message)
	}
	for _, cause := range []metav1.Condition{c.accepted, c.verified, c.programmed, c.taints, c.traffic, c.effective} {
		switch cause.Status {
		case metav1.ConditionTrue:
		case metav1.ConditionUnknown:
			return unknown(kind, cause.Reason, cause.Message)
		default:
			return no(kind, cause.Reason, cause.Message)
		}
	}
	return yes(kind, v1alpha1.ReasonAsDeclared, "The cluster is as declared")
}

func leftToRestore(in Input) string {
	return wording.Count(len(in.Remaining), "object") + " left to restore: " + wording.Points(in.Remaining)
}

func deleting(in Input) string {
	text := "What was there before has been restored"
	if len(in.Remaining) > 0 {
		text = leftToRestore(in)
	}
	if len(in.History.Failures) > 0 {
		text += "; what failed: " + wording.Points(in.History.Failures) + ". What the API server goes on refusing is left behind soon, " +
			"but for what restricts hosts: see to it that it is let through, or delete it by hand"
	}
	return text
}

// stalled is there when only a change from outside helps.
func stalled(in Input, c conditions) metav1.Condition {
	const kind = v1alpha1.ConditionStalled
	if in.Policy.Deleting() || in.Policy.Active() && in.Policy.Spec.Suspend {
		return absent(kind)
	}
	for _, cause := range []metav1.Condition{c.accepted, c.verified} {
		if cause.Status == metav1.ConditionFalse {
			return yes(kind, cause.Reason, cause.Message)
		}
	}
	if reason := c.programmed.Reason; reason == v1alpha1.ReasonRolledBack || reason == v1alpha1.ReasonTakenBack {
		return yes(kind, reason, c.programmed.Message)
	}
	return absent(kind)
}

// reconciling is there while the operator has something to write and can.
func reconciling(in Input, c conditions) metav1.Condition {
	const kind = v1alpha1.ConditionReconciling
	switch {
	case in.Policy.Deleting():
		return yes(kind, v1alpha1.ReasonDeleting, deleting(in))
	case c.stalled.Status == "" && c.programmed.Reason == v1alpha1.ReasonRollingOut:
		return yes(kind, v1alpha1.ReasonRollingOut, c.programmed.Message)
	case in.Policy.Enforces() && c.stalled.Status == "" && objectsToWrite(in) > 0:
		return yes(kind, v1alpha1.ReasonPending, wording.Count(objectsToWrite(in), "object")+" left to write")
	}
	return absent(kind)
}
