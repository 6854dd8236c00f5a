// SPDX-License-Identifier: Apache-2.0

package policyreport

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// severities are the severities of the conditions. Reconciling and Stalled are left out,
// because both come and go, and repeat Ready.
var severities = map[string]v1alpha1.Severity{
	v1alpha1.ConditionAccepted:              v1alpha1.SeverityMedium,
	v1alpha1.ConditionVerified:              v1alpha1.SeverityHigh,
	v1alpha1.ConditionProgrammed:            v1alpha1.SeverityMedium,
	v1alpha1.ConditionEffective:             v1alpha1.SeverityHigh,
	v1alpha1.ConditionTaintsInSync:          v1alpha1.SeverityMedium,
	v1alpha1.ConditionTrafficPoliciesInSync: v1alpha1.SeverityMedium,
	v1alpha1.ConditionDrifted:               v1alpha1.SeverityMedium,
	v1alpha1.ConditionTLSCompliant:          v1alpha1.SeverityHigh,
	v1alpha1.ConditionBackupFresh:           v1alpha1.SeverityHigh,
	v1alpha1.ConditionReady:                 v1alpha1.SeverityMedium,
}

// notAsked are reasons of an undecided condition: the policy does not ask for the condition,
// or another condition fails before.
var notAsked = []string{
	v1alpha1.ReasonNotDeclared, v1alpha1.ReasonNotApplicable, v1alpha1.ReasonHostBackendNone, v1alpha1.ReasonAudit,
	v1alpha1.ReasonSuspended, v1alpha1.ReasonNotVerified, v1alpha1.ReasonNotProgrammed,
}

// unscored are reasons of a bad condition for which no person has to act: the operator
// continues without help, or a person wants the condition so.
var unscored = []string{
	v1alpha1.ReasonOverridden, v1alpha1.ReasonPending, v1alpha1.ReasonRollingOut, v1alpha1.ReasonDeleting,
}

// ofCondition returns the result of a condition, and false if the condition has no result.
func ofCondition(c metav1.Condition) (result, bool) {
	severity, known := severities[c.Type]
	if !known {
		return result{}, false
	}
	outcome := outcomeOf(c)
	return result{
		Rule: c.Type, Category: categoryCondition, Severity: severity, Result: outcome, Scored: outcome == pass || outcome == fail,
		Message: c.Message, Timestamp: timestampOf(c.LastTransitionTime), Properties: map[string]string{propertyReason: c.Reason},
	}, true
}

// outcomeOf returns the outcome of a condition. Only Drifted should be False.
func outcomeOf(c metav1.Condition) string {
	good := metav1.ConditionTrue
	if c.Type == v1alpha1.ConditionDrifted {
		good = metav1.ConditionFalse
	}
	switch {
	case slices.Contains(notAsked, c.Reason):
		return skip
	case c.Status == metav1.ConditionUnknown:
		return failed
	case slices.Contains(unscored, c.Reason):
		return warn
	case c.Status == good:
		return pass
	default:
		return fail
	}
}
