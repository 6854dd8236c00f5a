// SPDX-License-Identifier: Apache-2.0

package report

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/intent"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
	"github.com/cpnp-dev/cpnp-operator/internal/verdict"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// verdictOf sums up the conditions of a policy: is the policy's intent reached, is the
// operator working, or must a person act? The intent Suspend is always reached, Audit by a
// complete comparison, and Enforce by a cluster as declared.
func verdictOf(in Input, c conditions) verdict.Verdict {
	switch {
	case in.Policy.Deleting():
		return verdict.Verdict{Outcome: verdict.InProgress, Reason: v1alpha1.ReasonDeleting, Message: describeDeletion(in)}
	case in.Policy.Intent() == intent.RollBack:
		return rollBackVerdict(in)
	case in.Policy.Intent() == intent.Suspend:
		return verdict.Verdict{
			Outcome: verdict.Settled, Reason: v1alpha1.ReasonSuspended,
			Message: "spec.suspend is set: nothing is written, and existing objects stay",
		}
	}
	for _, refused := range []metav1.Condition{c.accepted, c.verified} {
		if refused.Status == metav1.ConditionFalse {
			return causeVerdict(refused)
		}
	}
	if in.Policy.Spec.Mode != v1alpha1.ModeEnforce {
		return auditVerdict(in, c)
	}
	return enforceVerdict(in, c)
}

// rollBackVerdict is the verdict on a policy that is rolled back by the annotation. After
// the rollback, nothing changes until a person removes the annotation.
func rollBackVerdict(in Input) verdict.Verdict {
	v := verdict.Verdict{Outcome: verdict.Stalled, Reason: v1alpha1.ReasonRolledBack, Message: describeRollBack(in)}
	if len(in.Remaining) > 0 || len(in.History.Failures) > 0 {
		v.Outcome = verdict.InProgress
	}
	return v
}

// auditVerdict is the verdict on a policy in mode Audit. The audit is complete once the
// whole declaration was compared. The findings of the audit do not matter for the verdict.
func auditVerdict(in Input, c conditions) verdict.Verdict {
	if in.HostObstacle != nil { // hosts cannot be compared
		return causeVerdict(c.effective)
	}
	if c.verified.Status == metav1.ConditionUnknown {
		return causeVerdict(c.verified)
	}
	return verdict.Verdict{Outcome: verdict.Settled, Reason: v1alpha1.ReasonAudited, Message: describeAudit(in, c)}
}

// describeAudit describes the writes of mode Enforce, and names the conditions with
// findings.
func describeAudit(in Input, c conditions) string {
	text := "The audit is complete: Enforce would write " + wording.CountOf(objectsToWrite(in), "object")
	var found []string
	if c.drifted.Status == metav1.ConditionTrue {
		found = append(found, c.drifted.Type)
	}
	for _, condition := range []metav1.Condition{c.taints, c.traffic, c.effective, c.tls, c.backup} {
		if condition.Status != metav1.ConditionTrue && condition.Status != "" {
			found = append(found, condition.Type)
		}
	}
	if len(found) > 0 {
		text += "; findings are in " + strings.Join(found, ", ")
	}
	return text
}

// enforceVerdict is the verdict on a policy in mode Enforce. While the operator makes
// progress, the policy is in progress. After that, a single cause that needs a person makes
// the policy stalled, even if the operator waits for other causes.
func enforceVerdict(in Input, c conditions) verdict.Verdict {
	causes := causesOf(in, c)
	if len(causes) == 0 {
		return verdict.Verdict{
			Outcome: verdict.Settled, Reason: v1alpha1.ReasonAsDeclared, Message: "The cluster is as declared" + describePosture(c),
		}
	}
	if work := workOf(in, c); work.Reason != "" {
		v := causes[0]
		v.Outcome, v.Work = verdict.InProgress, work
		return v
	}
	for _, v := range causes {
		if v.Outcome == verdict.Stalled {
			return v
		}
	}
	return causes[0]
}

// describePosture names the bad conditions of the posture. The operator cannot repair the
// posture, so the posture does not matter for the verdict.
func describePosture(c conditions) string {
	text := ""
	for _, condition := range []metav1.Condition{c.tls, c.backup} {
		if condition.Status != metav1.ConditionTrue && condition.Status != "" {
			text += "; " + condition.Type + " is " + string(condition.Status)
		}
	}
	return text
}

// causesOf returns why an enforced policy is not ready, the most urgent cause first. Known
// causes go before unknown conditions.
func causesOf(in Input, c conditions) []verdict.Verdict {
	inOrder := []metav1.Condition{c.verified, c.programmed, c.taints, c.traffic, c.effective}
	var causes []verdict.Verdict
	if c.programmed.Reason == v1alpha1.ReasonApplyFailed {
		causes = append(causes, causeVerdict(c.programmed))
	}
	if c.drifted.Status == metav1.ConditionTrue {
		causes = append(causes, causeVerdict(c.drifted))
	}
	for _, status := range []metav1.ConditionStatus{metav1.ConditionFalse, metav1.ConditionUnknown} {
		for _, condition := range inOrder {
			if condition.Status == status {
				causes = append(causes, rolloutVerdict(in, condition))
			}
		}
	}
	return causes
}

// rolloutVerdict is the verdict on a bad condition. A rollout is stalled if every remaining
// node waits for a person, for the first node's reason.
func rolloutVerdict(in Input, condition metav1.Condition) verdict.Verdict {
	v := causeVerdict(condition)
	if condition.Reason != v1alpha1.ReasonRollingOut {
		return v
	}
	first := ""
	for i := range in.Rollout.Enactments {
		switch node := rollout.VerdictOf(&in.Rollout.Enactments[i]); node.Outcome {
		case verdict.InProgress:
			return v
		case verdict.Stalled:
			if first == "" {
				first = node.Reason
			}
		case verdict.Settled:
		}
	}
	v.Outcome, v.Reason = verdict.Stalled, first
	return v
}

func causeVerdict(c metav1.Condition) verdict.Verdict {
	return verdict.Verdict{
		Outcome: verdict.OutcomeOf(c.Reason), Reason: c.Reason, Message: c.Message, Unknown: c.Status == metav1.ConditionUnknown,
	}
}

// workOf returns the operator's present writes for an enforced policy, empty without
// writes.
func workOf(in Input, c conditions) verdict.Work {
	switch count := objectsToWrite(in); {
	case c.programmed.Reason == v1alpha1.ReasonRollingOut && rolloutVerdict(in, c.programmed).Outcome == verdict.InProgress:
		return verdict.Work{Reason: v1alpha1.ReasonRollingOut, Message: c.programmed.Message}
	case count > 0:
		return verdict.Work{Reason: v1alpha1.ReasonPending, Message: wording.CountOf(count, "object") + " left to write"}
	case c.programmed.Reason == v1alpha1.ReasonApplyFailed:
		return verdict.Work{Reason: v1alpha1.ReasonApplyFailed, Message: c.programmed.Message}
	}
	return verdict.Work{}
}
