// SPDX-License-Identifier: Apache-2.0

package state

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// ListPostures returns the postures of all policies, sorted by name; none if the API server
// does not serve the kind.
func (o Observer) ListPostures(ctx context.Context) ([]v1alpha1.ControlPlaneNodePosture, error) {
	if o.WithoutPostures {
		return nil, nil
	}
	var list v1alpha1.ControlPlaneNodePostureList
	if err := o.Cache.List(ctx, &list); err != nil {
		return nil, fmt.Errorf("listing postures: %w", err)
	}
	slices.SortFunc(list.Items, func(a, b v1alpha1.ControlPlaneNodePosture) int { return cmp.Compare(a.Name, b.Name) })
	return list.Items, nil
}

// PosturesOf returns the postures that the policy owns. A posture of an earlier policy of
// the same name has another owner.
func PosturesOf(
	policy *v1alpha1.ControlPlaneNetworkPolicy, postures []v1alpha1.ControlPlaneNodePosture,
) []v1alpha1.ControlPlaneNodePosture {
	return slices.DeleteFunc(slices.Clone(postures), func(p v1alpha1.ControlPlaneNodePosture) bool {
		return p.Spec.Policy != policy.Name ||
			!slices.ContainsFunc(p.OwnerReferences, func(r metav1.OwnerReference) bool { return r.UID == policy.UID })
	})
}
