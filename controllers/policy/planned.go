// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// planned keeps results of the steps of a reconciliation for reconciliations with the same
// input. The single worker for policies uses it. The zero value is ready to use.
type planned struct {
	networks plan.NetworkMemory
	inSync   drift.InSync
}

// assess assesses without memory.
func (r *Reconciler) assess(policy *plan.Policy, policies []plan.Policy, snapshot state.Snapshot) Observation {
	return new(planned).assess(r.Judge, policy, policies, snapshot)
}
