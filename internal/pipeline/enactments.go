// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/intent"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
)

// EnactmentsOf returns the enactments of a policy.
func EnactmentsOf(policy string, there []v1alpha1.ControlPlaneNodeEnactment) []v1alpha1.ControlPlaneNodeEnactment {
	return slices.DeleteFunc(slices.Clone(there), func(e v1alpha1.ControlPlaneNodeEnactment) bool { return e.Spec.Policy != policy })
}

// EnactmentsOutside returns the policy's enactments of nodes that are not among the given
// nodes; without nodes, all of the policy's enactments.
func EnactmentsOutside(
	policy string, protected []backend.Node, there []v1alpha1.ControlPlaneNodeEnactment,
) (gone []*v1alpha1.ControlPlaneNodeEnactment) {
	for i := range there {
		e := &there[i]
		kept := slices.ContainsFunc(protected, func(n backend.Node) bool { return n.Name == e.Spec.Node })
		if e.Spec.Policy == policy && !kept {
			gone = append(gone, e)
		}
	}
	return gone
}

// SameEnactment compares the fields written by the operator.
func SameEnactment(a, b *v1alpha1.ControlPlaneNodeEnactment) bool {
	is, was := a.Status.DeepCopy(), b.Status.DeepCopy()
	is.Observers, was.Observers = nil, nil
	return equality.Semantic.DeepEqual(a.Spec, b.Spec) && equality.Semantic.DeepEqual(is, was) &&
		a.Annotations[v1alpha1.AnnotationConfirm] == b.Annotations[v1alpha1.AnnotationConfirm]
}

// isGivenUp tells whether a policy does not protect nodes any more, and all of its objects
// are gone from Calico. Then the enactments are deleted: with enactments left in place, all
// nodes would get the rules at once if the policy protected nodes again, and other policies
// would wait for a node in flight.
func isGivenUp(a *Assessment) bool {
	return a.Policy.Enforces() && a.Hosts.Intent == intent.Enforce && !a.Snapshot.Unconfirmed && a.Live().Availability().Readable &&
		!drift.WroteHosts(a.Policy.Name, a.Live())
}

// goneNodes returns the enactments of nodes not protected by the policy any more, and the
// name of a node reverted for the current generation, if any. The enactment of the reverted
// node stays, because the enactment is the reason for not starting other nodes.
func goneNodes(policy *plan.Policy, protected []backend.Node, there []v1alpha1.ControlPlaneNodeEnactment) (
	gone []*v1alpha1.ControlPlaneNodeEnactment, failed string,
) {
	for _, e := range EnactmentsOutside(policy.Name, protected, there) {
		if rollout.FailedInGeneration(e, policy.Generation) {
			failed = e.Spec.Node
		} else {
			gone = append(gone, e)
		}
	}
	return gone, failed
}

// IsUnread tells whether objects for hosts cannot be rolled back at present, because the
// backend cannot be read.
func IsUnread(policy *plan.Policy, there backend.Live) bool {
	return there.Availability().MayHideObjects && WroteHosts(policy, there)
}

// WroteHosts tells whether the backend has objects of the policy, as far as known.
func WroteHosts(policy *plan.Policy, there backend.Live) bool {
	count := policy.Status.HostPolicies.Declared
	return count != nil && *count > 0 || drift.WroteHosts(policy.Name, there)
}
