// SPDX-License-Identifier: Apache-2.0

package backup

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// annotated returns a policy whose annotation is the source.
func annotated(values ...string) *v1alpha1.ControlPlaneNetworkPolicy {
	policy := policyWith(v1alpha1.BackupSource{Annotation: &v1alpha1.AnnotationBackup{}})
	for _, value := range values {
		metav1.SetMetaDataAnnotation(&policy.ObjectMeta, v1alpha1.AnnotationEtcdBackupTime, value)
	}
	return policy
}

func policyWith(source v1alpha1.BackupSource) *v1alpha1.ControlPlaneNetworkPolicy {
	policy := &v1alpha1.ControlPlaneNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "plane", UID: "uid"}}
	policy.Spec.Posture = &v1alpha1.PostureSpec{EtcdBackup: v1alpha1.EtcdBackupPosture{MaxAgeSeconds: 3600, Source: source}}
	return policy
}

func TestBackupTimeInAnAnnotation(t *testing.T) {
	const command = "kubectl annotate cpnp plane --overwrite cpnp.dev/etcd-backup-time=$(date -u +%FT%TZ)"
	noTime := func(quoted string) string {
		return "the annotation cpnp.dev/etcd-backup-time has the value " + quoted +
			", which is no time in the form of RFC 3339, such as 2026-01-02T03:04:05Z. Set it after every backup: " + command
	}
	for name, c := range map[string]struct {
		values []string
		newest time.Time
		absent string
		future bool
	}{
		"valid":               {values: []string{"2026-03-04T11:00:00Z"}, newest: now.Add(-time.Hour)},
		"with spaces":         {values: []string{" 2026-03-04T11:00:00Z\n"}, newest: now.Add(-time.Hour)},
		"in another zone":     {values: []string{"2026-03-04T12:00:00+01:00"}, newest: now.Add(-time.Hour)},
		"with fractions":      {values: []string{"2026-03-04T11:00:00.5Z"}, newest: now.Add(time.Second/2 - time.Hour)},
		"in the future":       {values: []string{"2026-03-05T11:00:00Z"}, future: true},
		"missing":             {absent: "the policy has no annotation cpnp.dev/etcd-backup-time. Set it after every backup: " + command},
		"empty":               {values: []string{""}, absent: noTime(`""`)},
		"a number":            {values: []string{"1772622000"}, absent: noTime(`"1772622000"`)},
		"without a zone":      {values: []string{"2026-03-04T11:00:00"}, absent: noTime(`"2026-03-04T11:00:00"`)},
		"the zero time of Go": {values: []string{"0001-01-01T00:00:00Z"}, absent: noTime(`"0001-01-01T00:00:00Z"`)},
		"the epoch":           {values: []string{"1970-01-01T00:00:00Z"}, absent: noTime(`"1970-01-01T00:00:00Z"`)},
		"a sentence":          {values: []string{"now\u202e\"; all is well"}, absent: noTime(`"now\u202e'; all is well"`)},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			found := readAnnotation(annotated(c.values...), now)
			g.Expect(found.Newest.Time.Equal(c.newest)).To(BeTrue(), "%s", found.Newest.Time)
			g.Expect(found.Absent).To(Equal(c.absent))
			g.Expect(found.Future.exists()).To(Equal(c.future))
			g.Expect(found.At).To(Equal(now))
		})
	}
}
