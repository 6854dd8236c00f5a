// SPDX-License-Identifier: Apache-2.0

package etcdsnapshot

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	coordination "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
)

// The annotations of the Lease.
const (
	AnnotationRevision = "cpnp.dev/etcd-snapshot-revision"
	AnnotationKeys     = "cpnp.dev/etcd-snapshot-keys"
	AnnotationSize     = "cpnp.dev/etcd-snapshot-size"
	AnnotationSHA256   = "cpnp.dev/etcd-snapshot-sha256"
	AnnotationFile     = "cpnp.dev/etcd-snapshot-file"
)

const (
	fieldManager = "cpnp.dev/etcd-snapshot"
	// stampTimeout limits the wait for the API server.
	stampTimeout = 30 * time.Second
)

// stampLease writes the time and the figures of a snapshot to an existing Lease. A merge
// patch needs only the right to patch the one Lease, and no right to create Leases.
func stampLease(ctx context.Context, config *rest.Config, key types.NamespacedName, holder string, s Snapshot) error {
	client, err := coordination.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("stamping the Lease %s: %w", key, err)
	}
	patch, err := leasePatch(holder, s)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, stampTimeout)
	defer cancel()
	_, err = client.Leases(key.Namespace).Patch(ctx, key.Name, types.MergePatchType, patch,
		metav1.PatchOptions{FieldManager: fieldManager, FieldValidation: metav1.FieldValidationStrict})
	switch {
	case err == nil:
		return nil
	case apierrors.IsNotFound(err):
		return fmt.Errorf("the Lease %s does not exist: create it, as config/etcd-snapshot/lease.yaml does, or set --lease", key)
	case apierrors.IsForbidden(err):
		return fmt.Errorf("the Lease %s may not be written: allow the verb patch for it, as config/etcd-snapshot/role.yaml does: %w", key, err)
	default:
		return fmt.Errorf("stamping the Lease %s: %w", key, err)
	}
}

func leasePatch(holder string, s Snapshot) ([]byte, error) {
	return json.Marshal(map[string]any{
		"metadata": map[string]any{"annotations": map[string]string{
			AnnotationRevision: strconv.FormatInt(s.Revision, 10),
			AnnotationKeys:     strconv.Itoa(s.Keys),
			AnnotationSize:     strconv.FormatInt(s.Size, 10),
			AnnotationSHA256:   s.SHA256,
			AnnotationFile:     filepath.Base(s.Path),
		}},
		"spec": map[string]any{"renewTime": metav1.NewMicroTime(s.Taken), "holderIdentity": holder},
	})
}
