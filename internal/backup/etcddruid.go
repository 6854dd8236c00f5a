// SPDX-License-Identifier: Apache-2.0

package backup

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// etcdKind is the kind of etcd-druid.
var etcdKind = schema.GroupVersionKind{Group: "druid.gardener.cloud", Version: "v1alpha1", Kind: "Etcd"}

// snapshotLeases returns the names of the Leases that etcd-backup-restore renews after every
// full snapshot, and after every snapshot of changes (etcd-druid, api/core/v1alpha1,
// helper.go: GetFullSnapshotLeaseName and GetDeltaSnapshotLeaseName).
func snapshotLeases(etcd string) []string { return []string{etcd + "-full-snap", etcd + "-delta-snap"} }

// readEtcdDruid reads an Etcd, and the Leases of its snapshots. The Leases have the times. The
// condition BackupReady has no time of a backup: if BackupReady is False, the times do not
// count, and if BackupReady is unknown, the message says so.
func readEtcdDruid(ctx context.Context, live client.Reader, name v1alpha1.NamespacedName, found *Found) {
	look := fmt.Sprintf("Look: kubectl describe etcds.druid.gardener.cloud --namespace=%s %s", shellWord(name.Namespace), shellWord(name.Name))
	found.Advice = look
	etcd := &unstructured.Unstructured{}
	etcd.SetGroupVersionKind(etcdKind)
	asked := request{source: sourceEtcdDruid, kind: "Etcd", group: etcdKind.Group, namespace: name.Namespace, name: name.Name}
	if err := live.Get(ctx, client.ObjectKey{Namespace: name.Namespace, Name: name.Name}, etcd); err != nil {
		problem := explainError(asked, err)
		if found.Problem, found.Transient = problem.text, problem.transient; problem.absent {
			found.Absent, found.Problem = fmt.Sprintf("there is no %s. Look: kubectl get etcds.druid.gardener.cloud --all-namespaces", asked), ""
		}
		return
	}
	if _, hasStore, _ := unstructured.NestedMap(etcd.Object, "spec", "backup", "store"); !hasStore {
		found.Absent = fmt.Sprintf("%s has no spec.backup.store, and is not backed up. "+
			"Set spec.backup.store, or declare another source. %s", asked, look)
		return
	}
	readSnapshotLeases(ctx, live, name, found)
	switch status, told := tellBackupReady(etcd); status {
	case string(metav1.ConditionTrue):
	case string(metav1.ConditionFalse):
		found.Refuted, found.Transient = told, false
	default:
		found.Notes = append(found.Notes, told)
	}
	if !found.Newest.exists() {
		found.Absent = fmt.Sprintf("no Lease of the snapshots of %s has been renewed yet. %s", asked, look)
	}
}

// readSnapshotLeases reads the Leases of the snapshots of an Etcd.
func readSnapshotLeases(ctx context.Context, live client.Reader, name v1alpha1.NamespacedName, found *Found) {
	for _, lease := range snapshotLeases(name.Name) {
		at, err := renewTime(ctx, live, name.Namespace, lease)
		asked := request{source: sourceEtcdDruid, kind: "Lease", namespace: name.Namespace, name: lease, of: name.Name}
		if problem := explainError(asked, err); err != nil && !problem.absent {
			found.Problem, found.Transient = problem.text, problem.transient
			continue
		}
		found.addSuccess(Stamp{Time: at, By: asked.String()})
	}
}

// tellBackupReady returns the status of the condition BackupReady, empty if there is none,
// and a sentence about it.
func tellBackupReady(etcd *unstructured.Unstructured) (status, told string) {
	conditions, _, _ := unstructured.NestedSlice(etcd.Object, "status", "conditions")
	for _, item := range conditions {
		condition, _ := item.(map[string]any)
		text := func(field string) string { value, _ := condition[field].(string); return value }
		if text("type") == "BackupReady" {
			return text("status"), fmt.Sprintf("etcd-druid reports that BackupReady is %s (%s): %s",
				wording.QuoteName(text("status")), wording.QuoteName(text("reason")), wording.QuoteText(text("message"), 200))
		}
	}
	return "", "etcd-druid does not report BackupReady yet"
}
