// SPDX-License-Identifier: Apache-2.0

package report

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// tlsCondition tells whether TLS is as declared; without a status if none is declared.
func tlsCondition(in Input) metav1.Condition {
	condition := metav1.Condition{Type: v1alpha1.ConditionTLSCompliant}
	if in.TLS != nil {
		condition.Status, condition.Reason, condition.Message = in.TLS.Status, in.TLS.Reason, in.TLS.Message
	}
	return condition
}

// backupCondition tells whether the newest backup is young enough; without a status if none
// is declared.
func backupCondition(in Input) metav1.Condition {
	condition := metav1.Condition{Type: v1alpha1.ConditionBackupFresh}
	if in.Backup != nil {
		condition.Status, condition.Reason, condition.Message = in.Backup.Status, in.Backup.Reason, in.Backup.Message
	}
	return condition
}

// postureStatus returns the known posture; nil if the policy declares no posture and there
// are no findings.
func postureStatus(in Input) *v1alpha1.PostureStatus {
	findings := FindingsOf(in)
	if in.TLS == nil && in.Backup == nil && len(findings) == 0 {
		return nil
	}
	status := &v1alpha1.PostureStatus{
		FindingCount: toInt32(len(findings)), Findings: findings[:min(len(findings), v1alpha1.MaxReportedFindings)],
	}
	if in.TLS != nil {
		status.Ports, status.ProbedPorts, status.EarliestExpiry = toInt32(in.TLS.Ports), toInt32(in.TLS.Probed), in.TLS.EarliestExpiry()
	}
	if in.Backup != nil && !in.Backup.Newest.IsZero() {
		status.LastBackupTime = ptr.To(metav1.NewTime(in.Backup.Newest).Rfc3339Copy())
	}
	return status
}
