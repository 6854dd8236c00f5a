// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/pipeline"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// awaitsBackend tells whether the policy waits until objects for hosts can be rolled back. A
// first read in progress is always waited for.
func (r *Reconciler) awaitsBackend(policy *plan.Policy, there backend.Live) bool {
	if settling := there.Availability().Settling; settling || !pipeline.IsUnread(policy, there) {
		r.patience.Forget(policy.Name)
		return settling && pipeline.IsUnread(policy, there)
	}
	return !policy.Deleting() || r.hasPatience(policy)
}

// hasPatience tells whether a policy in deletion waits longer for Calico. A restart of the
// operator restarts the wait, because a new operator must first find out what exists.
func (r *Reconciler) hasPatience(policy *plan.Policy) bool {
	return r.Clock.Now().Before(r.patience.Begin(policy.Name, r.Clock.Now()).Add(timing.CalicoPatience))
}
