// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/intent"
)

// Permissions are the writes that a policy may make now.
type Permissions struct {
	NetworkPolicies bool
	// Hosts are the writes to Calico that wait for their stage.
	Hosts bool
	// RollBacks are the writes to Calico that only roll back nodes.
	RollBacks Permission
}

// Permission tells whether a write is allowed.
type Permission func(drift.Write) bool

// Always allows every write, or none.
func Always(may bool) Permission { return func(drift.Write) bool { return may } }

// Permissions returns the permitted writes of the policy. Nothing is written for a node
// whose enactment differs from the decision: no node is started or rolled back without a
// persisted enactment, so that a later operator knows every step. Without a decision, because
// the operator has just started, only rollbacks are written. While the cache is not
// confirmed, only rollbacks are written, and only if the API server could not be asked.
//
// The rollback of a whole policy waits for no enactment. While the cache may not show all
// host endpoints, the rules that host endpoints need stay.
func (a *Assessment) Permissions() Permissions {
	persisted := func(w drift.Write) bool { return !a.Unsettled[w.Node] }
	unconfirmed := a.Snapshot.Unconfirmed
	switch a.Policy.Intent() {
	case intent.RollBack, intent.Delete:
		return Permissions{NetworkPolicies: true, Hosts: !unconfirmed, RollBacks: Always(true)}
	case intent.Enforce:
		enforces := a.Policy.Invalid == nil && !unconfirmed
		may := Permissions{
			NetworkPolicies: enforces && a.Verdict.HoldsOffHosts(),
			Hosts:           enforces && a.Verdict.Holds && a.isSettled(),
			RollBacks:       Always(false),
		}
		if !unconfirmed || a.Snapshot.ConfirmError != nil {
			may.RollBacks = persisted
		}
		return may
	case intent.Orphan:
		if !a.Policy.Spec.Suspend && !unconfirmed {
			return Permissions{RollBacks: persisted}
		}
	}
	return Permissions{RollBacks: Always(false)}
}

// isSettled tells whether the phases of the nodes are decided and persisted.
func (a *Assessment) isSettled() bool { return !a.Undecided && len(a.Unsettled) == 0 }
