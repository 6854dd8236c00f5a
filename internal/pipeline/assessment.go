// SPDX-License-Identifier: Apache-2.0

// Package pipeline has the steps of a reconciliation between the observation of the cluster
// and the writes: plan, diff, verify, rollout; and tells which writes are allowed.
package pipeline

import (
	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/verify"
)

// Assessment holds the results of the steps for one policy. Each step reads the results of
// the steps before, and adds its own.
type Assessment struct {
	Policy   *plan.Policy
	Policies []plan.Policy
	// Snapshot is what was observed.
	Snapshot state.Snapshot
	// Judge knows what the objects of the backend do to flows.
	Judge verify.Judge

	// Network and Hosts are planned. Diff and HostDiff are their differences to the cluster.
	Network  plan.Network
	Diff     drift.Diff
	Hosts    plan.Hosts
	HostDiff drift.Diff

	// Verdict tells whether the difference is safe to write. Notes are warnings about safe
	// writes.
	Verdict verify.Verdict
	Notes   []string
	// Cut is a required flow that is cut or would be; empty if no flow is cut.
	Cut string
	// Doubt is why the restrictions on nodes cannot be judged; empty if a judgement is
	// possible.
	Doubt string
	// APIServers are current and recent addresses of API servers.
	APIServers []v1alpha1.APIServerAddress

	// Rollout is the decision about the phases of the nodes if Decided is set. Otherwise
	// Rollout holds the persisted enactments.
	Rollout rollout.Decision
	Decided bool
	// Undecided tells that the phases cannot be decided yet, because the operator has just
	// started.
	Undecided bool
	// Unsettled are the nodes whose persisted enactment differs from the decision.
	Unsettled map[string]bool
	// Leaving are the enactments to delete, because the policy does not protect their nodes
	// any more.
	Leaving []*v1alpha1.ControlPlaneNodeEnactment

	// Written are the objects written in the current reconciliation.
	Written Written
	// Remaining are the names of the objects that a deletion still has to restore.
	Remaining []string
}

// Written holds the objects written in one reconciliation.
type Written map[drift.Object]bool

// Live returns the objects of the backend.
func (a *Assessment) Live() backend.Live { return a.Snapshot.OnHosts() }

// Settling tells that a new report would be no better than the last report. Soon the
// operator will have read Calico, with an event; or will know whether the cache is stale;
// or will have decided the phases of the nodes. A rollback is reported in any case.
func (a *Assessment) Settling() bool {
	readsCalico := a.Hosts.Declared && a.Live().Availability().Settling && a.Policy.Status.ObservedGeneration == a.Policy.Generation
	return a.Policy.Claims() && (a.Snapshot.Unconfirmed || a.Undecided || readsCalico)
}
