// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"slices"
	"strings"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/intent"
)

// Intent derives the policy's intent from its spec, annotations and deletion.
func (p *Policy) Intent() intent.Intent {
	asksForRollBack := p.RollBackReason() != ""
	switch {
	case p.DeletionTimestamp == nil && asksForRollBack:
		return intent.RollBack
	case p.DeletionTimestamp == nil && p.Spec.Suspend:
		return intent.Suspend
	case p.DeletionTimestamp == nil && p.Spec.Mode == v1alpha1.ModeEnforce:
		return intent.Enforce
	case p.DeletionTimestamp == nil:
		return intent.Audit
	case !slices.Contains(p.Finalizers, v1alpha1.Finalizer): // nothing was written for the policy
		return intent.Orphan
	case asksForRollBack:
		return intent.Delete
	case p.Spec.Suspend || p.Spec.DeletionPolicy == v1alpha1.DeletionOrphan:
		return intent.Orphan
	}
	return intent.Delete
}

// Claims tells whether the policy claims fields and nodes. Younger policies must leave
// claimed fields and nodes alone.
func (p *Policy) Claims() bool { return p.Intent().Claims() }

// Enforces tells whether the policy wants the cluster changed.
func (p *Policy) Enforces() bool { return p.Intent() == intent.Enforce }

// RollsBack tells whether every write for the policy is to be rolled back.
func (p *Policy) RollsBack() bool { return p.Intent().RollsBack() }

// Deleting tells whether the policy is being deleted.
func (p *Policy) Deleting() bool { return p.DeletionTimestamp != nil }

// RollBackReason returns the reason in the annotation cpnp.dev/revert; empty if the
// annotation is absent or blank.
func (p *Policy) RollBackReason() string {
	return strings.TrimSpace(p.Annotations[v1alpha1.AnnotationRevert])
}
