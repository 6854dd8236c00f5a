// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

var nodeRecords = schema.GroupResource{Group: v1alpha1.SchemeGroupVersion.Group, Resource: "controlplanenoderecords"}

// writeNodeRecord stores the wanted record of a node, and returns the stored object,
// nil for an empty record. The function writes only changes, and a write is refused
// with a conflict if the stored record is not the given record.
func writeNodeRecord(ctx context.Context, c client.Writer, node *corev1.Node, stored *v1alpha1.ControlPlaneNodeRecord, want state.Record) (
	*v1alpha1.ControlPlaneNodeRecord, error,
) {
	switch {
	case stored == nil && len(want) == 0:
		return nil, nil
	case stored != nil && len(want) == 0:
		seen := client.Preconditions{UID: &stored.UID, ResourceVersion: &stored.ResourceVersion}
		return nil, client.IgnoreNotFound(c.Delete(ctx, stored, seen))
	}
	desired := &v1alpha1.ControlPlaneNodeRecord{
		ObjectMeta: metav1.ObjectMeta{
			Name: node.Name, // garbage collection deletes the record with the Node
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: corev1.SchemeGroupVersion.String(), Kind: "Node", Name: node.Name, UID: node.UID,
			}},
		},
		Spec: v1alpha1.ControlPlaneNodeRecordSpec{NodeUID: string(node.UID), Taints: want.RecordedTaints()},
	}
	spec := *desired.Spec.DeepCopy()
	if stored != nil && equality.Semantic.DeepEqual(stored.Spec, spec) {
		return stored, nil
	}
	if err := storeNodeRecord(ctx, c, stored, desired); err != nil {
		return nil, err
	}
	if !equality.Semantic.DeepEqual(desired.Spec, spec) {
		return nil, &Incomplete{Left: []string{"the ControlPlaneNodeRecord of the node is not as written"}}
	}
	return desired, nil
}

func storeNodeRecord(ctx context.Context, c client.Writer, stored, desired *v1alpha1.ControlPlaneNodeRecord) error {
	if stored != nil {
		desired.UID, desired.ResourceVersion = stored.UID, stored.ResourceVersion
		return c.Update(ctx, desired, client.FieldOwner(v1alpha1.FieldManagerTaints))
	}
	err := c.Create(ctx, desired, client.FieldOwner(v1alpha1.FieldManagerTaints))
	if apierrors.IsAlreadyExists(err) { // the cache does not show the record yet
		return apierrors.NewConflict(nodeRecords, desired.Name, err)
	}
	return err
}

// confirmRecord returns a conflict if the record of the API server differs from the
// given record.
func confirmRecord(ctx context.Context, live client.Reader, seen *v1alpha1.ControlPlaneNodeRecord) error {
	now := &v1alpha1.ControlPlaneNodeRecord{}
	err := live.Get(ctx, client.ObjectKeyFromObject(seen), now)
	switch {
	case apierrors.IsNotFound(err):
		return apierrors.NewConflict(nodeRecords, seen.Name, err)
	case err != nil:
		return fmt.Errorf("reading the record of node %s: %w", seen.Name, err)
	case now.UID != seen.UID || now.ResourceVersion != seen.ResourceVersion:
		return apierrors.NewConflict(nodeRecords, seen.Name, fmt.Errorf("the record has changed since version %s", seen.ResourceVersion))
	}
	return nil
}
