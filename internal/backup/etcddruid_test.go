// SPDX-License-Identifier: Apache-2.0

package backup

import (
	"context"
	"errors"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// druid answers with one Etcd, and with the Leases that were renewed.
type druid struct {
	client.Reader
	etcd    map[string]any
	renewed map[string]time.Time
	err     error // of Leases
}

// Get reads an object.
func (d druid) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	lease, ok := into.(*coordinationv1.Lease)
	if !ok {
		into.(*unstructured.Unstructured).Object = d.etcd
		return nil
	}
	at, is := d.renewed[key.Name]
	switch {
	case d.err != nil:
		return d.err
	case !is:
		return &apierrors.StatusError{ErrStatus: metav1.Status{Reason: metav1.StatusReasonNotFound, Details: &metav1.StatusDetails{Name: key.Name}}}
	}
	lease.Spec.RenewTime = &metav1.MicroTime{Time: at}
	return nil
}

// etcdWith returns an Etcd with a status of BackupReady, or without one.
func etcdWith(store bool, ready string) map[string]any {
	etcd := map[string]any{"spec": map[string]any{"backup": map[string]any{}}}
	if store {
		etcd["spec"].(map[string]any)["backup"] = map[string]any{"store": map[string]any{"provider": "S3"}}
	}
	if ready != "" {
		etcd["status"] = map[string]any{"conditions": []any{
			map[string]any{"type": "Ready", "status": "True"},
			map[string]any{"type": "BackupReady", "status": ready, "reason": "Why", "message": "text"},
		}}
	}
	return etcd
}

// A recent Lease alone is no backup: the condition BackupReady and the store count, too.
func TestLeasesOfEtcdDruidAloneAreNoBackup(t *testing.T) {
	policy := &v1alpha1.ControlPlaneNetworkPolicy{Spec: v1alpha1.ControlPlaneNetworkPolicySpec{Posture: &v1alpha1.PostureSpec{
		EtcdBackup: v1alpha1.EtcdBackupPosture{
			MaxAgeSeconds: 3600, Source: v1alpha1.BackupSource{EtcdDruid: v1alpha1.NamespacedName{Namespace: "ns", Name: "main"}},
		},
	}}}
	full, delta := map[string]time.Time{"main-full-snap": now.Add(-time.Minute)}, map[string]time.Time{"main-delta-snap": now.Add(-time.Minute)}
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "leases"}, "x", errors.New("no role"))
	for name, c := range map[string]struct {
		live    druid
		status  metav1.ConditionStatus
		reason  string
		message string
		newest  bool
	}{
		"ready, full":  {druid{etcd: etcdWith(true, "True"), renewed: full}, metav1.ConditionTrue, v1alpha1.ReasonFresh, "according to Lease ns/main-full-snap", true},
		"ready, delta": {druid{etcd: etcdWith(true, "True"), renewed: delta}, metav1.ConditionTrue, v1alpha1.ReasonFresh, "according to Lease ns/main-delta-snap", true},
		"not ready, full": {
			druid{etcd: etcdWith(true, "False"), renewed: full}, metav1.ConditionFalse, v1alpha1.ReasonStale,
			`do not count: etcd-druid reports that BackupReady is False (Why): "text". Look: kubectl describe etcds`, true,
		},
		"not ready, delta": {
			druid{etcd: etcdWith(true, "False"), renewed: delta}, metav1.ConditionFalse, v1alpha1.ReasonStale, "BackupReady is False (Why)", true,
		},
		"not ready, no Lease": {druid{etcd: etcdWith(true, "False")}, metav1.ConditionFalse, v1alpha1.ReasonStale, "BackupReady is False (Why)", false},
		"not ready, and Leases that cannot be read": {
			druid{etcd: etcdWith(true, "False"), err: errors.New("no answer")}, metav1.ConditionFalse, v1alpha1.ReasonStale, "no answer", false,
		},
		"readiness unknown": {
			druid{etcd: etcdWith(true, "Unknown"), renewed: full}, metav1.ConditionTrue, v1alpha1.ReasonFresh, "BackupReady is Unknown (Why)", true,
		},
		"readiness missing": {druid{etcd: etcdWith(true, ""), renewed: full}, metav1.ConditionTrue, v1alpha1.ReasonFresh, "does not report BackupReady yet", true},
		"no store": {
			druid{etcd: etcdWith(false, "True"), renewed: full}, metav1.ConditionUnknown, v1alpha1.ReasonNoBackup,
			"No backup of etcd is known: Etcd ns/main has no spec.backup.store, and is not backed up. Set spec.backup.store", false,
		},
		"no store, and not ready": {
			druid{etcd: etcdWith(false, "False"), renewed: full}, metav1.ConditionUnknown, v1alpha1.ReasonNoBackup, "no spec.backup.store", false,
		},
		"Leases that may not be read": {
			druid{etcd: etcdWith(true, "True"), err: forbidden}, metav1.ConditionUnknown, v1alpha1.ReasonNoBackup, "may not read Lease ns/main-", false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			found := lookAt(t.Context(), c.live, policy, now)
			v := Judge(policy.Spec.Posture.EtcdBackup, found, now)
			g.Expect([]any{v.Status, v.Reason, !v.Newest.IsZero()}).To(Equal([]any{c.status, c.reason, c.newest}), v.Message)
			g.Expect(v.Message).To(ContainSubstring(c.message))
			g.Expect(found.Transient).To(BeFalse(), "otherwise an older answer would be kept for a while")
		})
	}
}

// A problem that etcd-druid reports is a part of the answer, and leads to a new status.
func TestRefutationIsAChange(t *testing.T) {
	g := NewWithT(t)
	policy := &v1alpha1.ControlPlaneNetworkPolicy{}
	memory := &Memory{}
	at := memory.now()
	g.Expect(memory.Keep(policy, Found{At: at, Newest: Stamp{Time: at, By: "Lease ns/x"}})).To(BeTrue())
	g.Expect(memory.Keep(policy, Found{At: at, Newest: Stamp{Time: at, By: "Lease ns/x"}, Refuted: "druid says no"})).To(BeTrue())
	kept, _ := memory.Latest(policy)
	g.Expect(kept.Refuted).To(Equal("druid says no"))
}
