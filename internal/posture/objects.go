// SPDX-License-Identifier: Apache-2.0

package posture

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// maxObjectName is the maximum length of the name of an object.
const maxObjectName = 253

// ObjectsOf returns the postures that a policy calls for.
func ObjectsOf(policy *v1alpha1.ControlPlaneNetworkPolicy, p plan.TLSPlan) []v1alpha1.ControlPlaneNodePosture {
	declared := policy.TLSPosture()
	if declared == nil {
		return nil
	}
	objects := make([]v1alpha1.ControlPlaneNodePosture, 0, len(p.Nodes))
	for _, node := range p.Nodes {
		objects = append(objects, v1alpha1.ControlPlaneNodePosture{
			ObjectMeta: metav1.ObjectMeta{
				Name:   wording.ShortenName(policy.Name+"."+node.Node, maxObjectName),
				Labels: map[string]string{v1alpha1.LabelPolicy: policy.Name},
				OwnerReferences: []metav1.OwnerReference{{
					APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "ControlPlaneNetworkPolicy",
					Name: policy.Name, UID: policy.UID, Controller: ptr.To(true),
				}},
			},
			Spec: v1alpha1.ControlPlaneNodePostureSpec{
				Policy: policy.Name, Node: node.Node, IntervalSeconds: declared.IntervalSeconds, Targets: node.Targets,
			},
		})
	}
	return objects
}

// KeptObservers returns the observations that are recent enough to count, of observers on
// existing nodes: observers that no longer run would take the room of other observers.
func KeptObservers(p *v1alpha1.ControlPlaneNodePosture, nodes sets.Set[string], now time.Time) []v1alpha1.TLSObservation {
	interval := Interval(p.Spec.IntervalSeconds)
	return slices.DeleteFunc(slices.Clone(p.Status.Observers), func(o v1alpha1.TLSObservation) bool {
		gone := o.Name != v1alpha1.ObserverOperator && !nodes.Has(o.Name)
		return gone || o.Time == nil || now.After(freshEnd(&o, interval))
	})
}
