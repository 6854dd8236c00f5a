// SPDX-License-Identifier: Apache-2.0

package backup

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// FromStatus returns the last verdict, from the status of the policy: until an operator that
// has just started has read the source, the condition does not change. There is no such
// verdict for another generation, or once the backup of the status has become too old.
func FromStatus(policy *v1alpha1.ControlPlaneNetworkPolicy, now time.Time) (v Verdict, is bool) {
	last := meta.FindStatusCondition(policy.Status.Conditions, v1alpha1.ConditionBackupFresh)
	if last == nil || !isDeclared(policy) || last.ObservedGeneration != policy.Generation || last.Reason == v1alpha1.ReasonObserving {
		return Verdict{}, false
	}
	v = Verdict{Status: last.Status, Reason: last.Reason, Message: last.Message}
	if posture := policy.Status.Posture; posture != nil && posture.LastBackupTime != nil {
		v.Newest = posture.LastBackupTime.Time
	}
	if v.Status == metav1.ConditionTrue {
		v.Next = v.Newest.Add(time.Duration(policy.Spec.Posture.EtcdBackup.MaxAgeSeconds) * time.Second)
		if !now.Before(v.Next) {
			return Verdict{}, false
		}
	}
	return v, true
}
