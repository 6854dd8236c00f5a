// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"slices"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/verify"
)

// Assessor runs the steps plan, diff and verify. An Assessor keeps results for
// reconciliations with the same input, and must not be used concurrently.
type Assessor struct {
	Judge verify.Judge

	networks plan.NetworkMemory
	inSync   drift.InSync
}

// Assess plans the objects of a policy, compares the cluster with the plan, and verifies
// that the difference is safe to write.
func (m *Assessor) Assess(policy *plan.Policy, policies []plan.Policy, snapshot state.Snapshot) Assessment {
	a := Assessment{
		Policy: policy, Policies: policies, Snapshot: snapshot, Judge: m.Judge,
		Network: m.networks.NetworkPolicies(policy, policies, snapshot),
		Hosts:   plan.HostProtection(policy, policies, snapshot),
	}
	a.Diff = m.inSync.CompareNetworkPolicies(policy, a.Network, snapshot.NetworkPolicies)
	a.HostDiff = drift.CompareHosts(policy, policies, a.Hosts, a.Live())
	if !policy.Claims() {
		a.Verdict = beingRolledBack
		return a
	}
	a.verify()
	// An earlier version of the operator remembered API servers in objects for hosts. Read the
	// addresses there before removing those objects.
	if policy.Spec.Network != nil && (policy.Status.APIServers != nil || !a.Live().Availability().MayHideObjects) {
		a.APIServers = plan.KnownAPIServers(policy, snapshot)
	}
	return a
}

// AssessOnce is like [Assessor.Assess], without keeping results.
func (m *Assessor) AssessOnce(policy *plan.Policy, policies []plan.Policy, snapshot state.Snapshot) Assessment {
	once := Assessor{Judge: m.Judge}
	return once.Assess(policy, policies, snapshot)
}

// verify tells whether the difference is safe to write.
func (a *Assessment) verify() {
	a.Notes = slices.Concat(a.Network.Notes, a.Hosts.Notes)
	a.Verdict = verify.PolicyWritable(a.Policy, a.Snapshot.Nodes, slices.Concat(a.Network.Held, a.Hosts.Held), a.Notes)
	a.verifyFlows()
	a.Verdict = verify.WithUndecided(a.Verdict, a.Hosts.Undecided, a.Policy.OverrideReason(), a.Notes)
	a.Verdict = verify.WithHostObstacle(a.Verdict, a.Hosts, a.Notes)
}

// beingRolledBack is the verdict on a policy without claims: no new restriction is written.
var beingRolledBack = verify.Verdict{Holds: true, Reason: v1alpha1.ReasonVerified, Message: "What was written is being rolled back"}
