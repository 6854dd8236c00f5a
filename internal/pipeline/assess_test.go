// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/judge"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// assess assesses a snapshot of a cluster with Calico.
func assess(policy *plan.Policy, policies []plan.Policy, snapshot state.Snapshot) *Assessment {
	assessor := Assessor{Judge: judge.Calico{}}
	a := assessor.Assess(policy, policies, snapshot)
	return &a
}
