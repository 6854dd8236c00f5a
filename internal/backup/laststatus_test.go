// SPDX-License-Identifier: Apache-2.0

package backup

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

func TestLastStatusCountsUntilTheFirstRead(t *testing.T) {
	newest := metav1.NewTime(now.Add(-time.Hour))
	fresh := metav1.Condition{
		Type: v1alpha1.ConditionBackupFresh, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonFresh, Message: "m", ObservedGeneration: 2,
	}
	stale, absent, observing, earlier := fresh, fresh, fresh, fresh
	stale.Status, stale.Reason = metav1.ConditionFalse, v1alpha1.ReasonStale
	absent.Status, absent.Reason = metav1.ConditionUnknown, v1alpha1.ReasonNoBackup
	observing.Status, observing.Reason = metav1.ConditionUnknown, v1alpha1.ReasonObserving
	earlier.ObservedGeneration = 1
	for name, c := range map[string]struct {
		last   *metav1.Condition
		maxAge int32
		newest *metav1.Time
		want   *Verdict
	}{
		"no condition":          {nil, 7200, &newest, nil},
		"fresh":                 {&fresh, 7200, &newest, &Verdict{metav1.ConditionTrue, "Fresh", "m", newest.Time, now.Add(time.Hour)}},
		"fresh until now":       {&fresh, 3600, &newest, nil},
		"fresh without a time":  {&fresh, 7200, nil, nil},
		"stale":                 {&stale, 60, &newest, &Verdict{metav1.ConditionFalse, "Stale", "m", newest.Time, time.Time{}}},
		"absent":                {&absent, 60, nil, &Verdict{metav1.ConditionUnknown, "NoBackup", "m", time.Time{}, time.Time{}}},
		"observing":             {&observing, 60, nil, nil},
		"of another generation": {&earlier, 7200, &newest, nil},
		"no longer declared":    {&fresh, 0, &newest, nil},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			policy := policyWith(leaseSource("a"))
			policy.Generation = 2
			policy.Spec.Posture.EtcdBackup.MaxAgeSeconds = c.maxAge
			policy.Status.Posture = &v1alpha1.PostureStatus{LastBackupTime: c.newest}
			if c.last != nil {
				policy.Status.Conditions = []metav1.Condition{*c.last}
			}
			v, is := FromStatus(policy, now)
			g.Expect(is).To(Equal(c.want != nil))
			g.Expect(v).To(Equal(ptr.Deref(c.want, Verdict{})))
		})
	}
}
