// SPDX-License-Identifier: Apache-2.0

package drift

import (
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cpnp-dev/cpnp-operator/internal/plan"
)

// InSync remembers the versions of live objects that are as planned: the drift of a single
// object then does not cost a comparison of all objects of the policy. The zero value is
// ready to use; a nil value remembers nothing. InSync is not safe for concurrent use.
type InSync struct{ objects map[Object]comparison }

// comparison is a comparison without a difference. desired is the planned object, not a
// copy: a new plan is compared anew.
type comparison struct {
	desired plan.Object
	uid     types.UID
	version string
}

// maxInSync bounds the memory. A full memory starts anew.
const maxInSync = 4096

// CompareNetworkPolicies returns the same as the function CompareNetworkPolicies.
func (s *InSync) CompareNetworkPolicies(policy *plan.Policy, network plan.Network, live []networkingv1.NetworkPolicy) Diff {
	return compareNetworkPolicies(policy, network, live, s)
}

func (s *InSync) has(desired, live plan.Object) bool {
	if s == nil || live == nil {
		return false
	}
	known, found := s.objects[ObjectOf(desired)]
	return found && known == comparison{desired, live.GetUID(), live.GetResourceVersion()}
}

func (s *InSync) note(desired, live plan.Object) {
	if s == nil || live == nil || live.GetUID() == "" || live.GetResourceVersion() == "" {
		return
	}
	if s.objects == nil || len(s.objects) >= maxInSync {
		s.objects = map[Object]comparison{}
	}
	s.objects[ObjectOf(desired)] = comparison{desired, live.GetUID(), live.GetResourceVersion()}
}
