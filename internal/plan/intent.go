// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"slices"
	"strings"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// Intent is the present purpose of a policy. Each policy has exactly one intent.
type Intent string

// The intents.
const (
	// IntentAudit compares the cluster with the declaration, and writes nothing.
	IntentAudit Intent = "Audit"
	// IntentSuspend writes nothing, and keeps what is there.
	IntentSuspend Intent = "Suspend"
	// IntentEnforce writes the declared objects and fields, and repairs drift.
	IntentEnforce Intent = "Enforce"
	// IntentRollBack rolls back every write for the policy, and keeps the policy. The
	// annotation cpnp.dev/revert, meant for emergencies, asks for the rollback and overrides
	// spec.mode and spec.suspend.
	IntentRollBack Intent = "RollBack"
	// IntentDelete rolls back every write for the policy, and then lets the deletion finish.
	IntentDelete Intent = "Delete"
	// IntentOrphan lets the deletion finish, and keeps everything written for the policy.
	IntentOrphan Intent = "Orphan"
)

// Intent derives the policy's intent from its spec, annotations and deletion.
func (p *Policy) Intent() Intent {
	asksForRollBack := p.RollBackReason() != ""
	switch {
	case p.DeletionTimestamp == nil && asksForRollBack:
		return IntentRollBack
	case p.DeletionTimestamp == nil && p.Spec.Suspend:
		return IntentSuspend
	case p.DeletionTimestamp == nil && p.Spec.Mode == v1alpha1.ModeEnforce:
		return IntentEnforce
	case p.DeletionTimestamp == nil:
		return IntentAudit
	case !slices.Contains(p.Finalizers, v1alpha1.Finalizer): // nothing was written for the policy
		return IntentOrphan
	case asksForRollBack:
		return IntentDelete
	case p.Spec.Suspend || p.Spec.DeletionPolicy == v1alpha1.DeletionOrphan:
		return IntentOrphan
	}
	return IntentDelete
}

// Claims tells whether the policy claims fields and nodes. Younger policies must leave
// claimed fields and nodes alone.
func (p *Policy) Claims() bool {
	return slices.Contains([]Intent{IntentAudit, IntentSuspend, IntentEnforce}, p.Intent())
}

// Enforces tells whether the policy wants the cluster changed.
func (p *Policy) Enforces() bool { return p.Intent() == IntentEnforce }

// RollsBack tells whether every write for the policy is to be rolled back.
func (p *Policy) RollsBack() bool {
	return p.Intent() == IntentRollBack || p.Intent() == IntentDelete
}

// Deleting tells whether the policy is being deleted.
func (p *Policy) Deleting() bool { return p.DeletionTimestamp != nil }

// RollBackReason returns the reason in the annotation cpnp.dev/revert; empty if the
// annotation is absent or blank.
func (p *Policy) RollBackReason() string {
	return strings.TrimSpace(p.Annotations[v1alpha1.AnnotationRevert])
}
