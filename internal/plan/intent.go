// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"slices"
	"strings"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// Intent is what a policy asks for now. Each policy has exactly one.
type Intent string

// The intents.
const (
	// IntentAudit compares the cluster with the declaration, and writes nothing.
	IntentAudit Intent = "Audit"
	// IntentSuspend writes nothing, and keeps what is there.
	IntentSuspend Intent = "Suspend"
	// IntentEnforce writes what is declared, and repairs drift.
	IntentEnforce Intent = "Enforce"
	// IntentRollBack rolls everything back that was written, and keeps the policy. The
	// annotation cpnp.dev/revert asks for it, in an emergency: before mode and suspend.
	IntentRollBack Intent = "RollBack"
	// IntentDelete rolls everything back that was written, and lets the policy go.
	IntentDelete Intent = "Delete"
	// IntentOrphan lets the policy go, and keeps what was written for it.
	IntentOrphan Intent = "Orphan"
)

// Intent returns what the policy asks for now.
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

// Claims says whether the policy claims fields and nodes. Younger policies leave these
// to it.
func (p *Policy) Claims() bool {
	return slices.Contains([]Intent{IntentAudit, IntentSuspend, IntentEnforce}, p.Intent())
}

// Enforces says whether the policy wants the cluster changed.
func (p *Policy) Enforces() bool { return p.Intent() == IntentEnforce }

// RollsBack says whether everything that was written for the policy is to be rolled back.
func (p *Policy) RollsBack() bool {
	return p.Intent() == IntentRollBack || p.Intent() == IntentDelete
}

// Deleting says whether the policy is being deleted.
func (p *Policy) Deleting() bool { return p.DeletionTimestamp != nil }

// RollBackReason returns the reason that the annotation cpnp.dev/revert gives; empty if
// the annotation is absent or says nothing.
func (p *Policy) RollBackReason() string {
	return strings.TrimSpace(p.Annotations[v1alpha1.AnnotationRevert])
}
