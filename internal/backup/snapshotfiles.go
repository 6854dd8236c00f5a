// SPDX-License-Identifier: Apache-2.0

package backup

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// snapshotFileKind is the kind of RKE2 and k3s (k3s, pkg/apis/k3s.cattle.io/v1, types.go).
var snapshotFileKind = schema.GroupVersionKind{Group: "k3s.cattle.io", Version: "v1", Kind: "ETCDSnapshotFile"}

// takeSnapshot has to be run on a server of the cluster.
const takeSnapshot = "sudo rke2 etcd-snapshot save, or with k3s: sudo k3s etcd-snapshot save"

// readSnapshotFiles reads the snapshots of RKE2 and k3s.
func readSnapshotFiles(ctx context.Context, live client.Reader, location v1alpha1.SnapshotLocation, found *Found) {
	files, elsewhere := 0, 0
	found.Advice = "Take one on a server: " + takeSnapshot
	empty := func() client.ObjectList {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(snapshotFileKind.GroupVersion().WithKind("ETCDSnapshotFileList"))
		return list
	}
	err := state.ListPages(ctx, live, empty, func(page client.ObjectList) {
		for _, file := range page.(*unstructured.UnstructuredList).Items {
			files++
			if location == v1alpha1.SnapshotS3 && !isInS3(&file) {
				elsewhere++
				continue
			}
			addSnapshotFile(&file, found)
		}
	})
	switch {
	case err != nil:
		problem := explainError(request{source: sourceSnapshotFiles, kind: snapshotFileKind.Kind, group: snapshotFileKind.Group}, err)
		found.Problem, found.Transient = problem.text, problem.transient
	case found.Newest.exists():
	case files == 0:
		found.Absent = "there is no ETCDSnapshotFile. Take a snapshot on a server: " + takeSnapshot
	case elsewhere == files:
		found.Absent = fmt.Sprintf("none of %s is in S3, as spec.posture.etcdBackup.source.snapshotFiles.location asks. "+
			"Configure etcd-s3 on the servers", wording.CountOf(files, "ETCDSnapshotFile"))
	default:
		found.Absent = fmt.Sprintf("none of %s is ready to use. Look: kubectl get etcdsnapshotfiles.k3s.cattle.io --output=wide",
			wording.CountOf(files, "ETCDSnapshotFile"))
	}
}

// isInS3 tells whether a snapshot was uploaded: spec.s3 is set for these alone.
func isInS3(file *unstructured.Unstructured) bool {
	_, is, _ := unstructured.NestedMap(file.Object, "spec", "s3")
	return is
}

func addSnapshotFile(file *unstructured.Unstructured, found *Found) {
	by := "ETCDSnapshotFile " + file.GetName()
	ready, _, _ := unstructured.NestedBool(file.Object, "status", "readyToUse")
	created, _, _ := unstructured.NestedString(file.Object, "status", "creationTime")
	if at, valid := parseTime(created); ready && valid {
		found.addSuccess(Stamp{Time: at, By: by})
		return
	}
	failed, _, _ := unstructured.NestedString(file.Object, "status", "error", "time")
	message, _, _ := unstructured.NestedString(file.Object, "status", "error", "message")
	if at, valid := parseTime(failed); valid {
		found.addFailure(Stamp{Time: at, By: by, Note: ": " + wording.QuoteText(message, 200)})
	}
}
