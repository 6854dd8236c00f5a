// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// WritePosture makes the spec of a posture as desired; live is the posture in the cache, nil
// if there is none. The operator is the only writer of the spec, so that a patch of the
// whole list of targets replaces nothing of others.
func WritePosture(ctx context.Context, c client.Client, desired, live *v1alpha1.ControlPlaneNodePosture) error {
	want := desired.Spec.DeepCopy()
	written := desired.DeepCopy()
	var err error
	if live == nil {
		err = c.Create(ctx, written, client.FieldOwner(v1alpha1.FieldManagerPosture))
	} else {
		written = live.DeepCopy()
		desired.Spec.DeepCopyInto(&written.Spec)
		written.Labels, written.OwnerReferences = desired.Labels, desired.OwnerReferences
		patch := client.MergeFromWithOptions(live, client.MergeFromWithOptimisticLock{})
		err = c.Patch(ctx, written, patch, client.FieldOwner(v1alpha1.FieldManagerPosture))
	}
	if err != nil {
		return fmt.Errorf("writing the targets of %s: %w", desired.Name, err)
	}
	if !equality.Semantic.DeepEqual(written.Spec, *want) {
		return fmt.Errorf("writing the targets of %s: %w", desired.Name, &Incomplete{Left: []string{"spec.targets are not as written"}})
	}
	return nil
}

// KeepTLSObservers removes all observers from a posture but the kept ones: observers of
// deleted nodes would take the room of other observers.
func KeepTLSObservers(ctx context.Context, c client.Client, live *v1alpha1.ControlPlaneNodePosture, kept []v1alpha1.TLSObservation) error {
	changed := live.DeepCopy()
	changed.Status.Observers = kept
	patch := client.MergeFromWithOptions(live, client.MergeFromWithOptimisticLock{})
	if err := c.Status().Patch(ctx, changed, patch, client.FieldOwner(v1alpha1.FieldManagerPosture)); err != nil {
		return fmt.Errorf("removing observers of deleted nodes from %s: %w", live.Name, err)
	}
	return nil
}
