// SPDX-License-Identifier: Apache-2.0

// Package intent names the purposes that a policy can have. The plan derives the intent
// from the policy, and every later step of the pipeline acts by the intent.
package intent

// Intent is the present purpose of a policy. Each policy has exactly one intent.
type Intent string

// The intents.
const (
	// Audit compares the cluster with the declaration, and writes nothing.
	Audit Intent = "Audit"
	// Suspend writes no object, and keeps all existing objects.
	Suspend Intent = "Suspend"
	// Enforce writes the declared objects and fields, and repairs drift.
	Enforce Intent = "Enforce"
	// Hold keeps all existing objects, and rolls back only nodes in flight. Hold takes the
	// place of another intent where the rules for hosts are unknown: the rules cannot be
	// rendered now, or the policy orphans its objects.
	Hold Intent = "Hold"
	// RollBack rolls back every write for the policy, and keeps the policy. The annotation
	// cpnp.dev/revert, meant for emergencies, asks for the rollback and overrides spec.mode
	// and spec.suspend.
	RollBack Intent = "RollBack"
	// Delete rolls back every write for the policy, and then lets the deletion finish.
	Delete Intent = "Delete"
	// Orphan lets the deletion finish, and keeps everything written for the policy, except
	// rules on trial.
	Orphan Intent = "Orphan"
)

// Claims tells whether a policy with the intent claims fields and nodes. Younger policies
// must leave claimed fields and nodes alone.
func (i Intent) Claims() bool { return i == Audit || i == Suspend || i == Enforce }

// RollsBack tells whether every write for the policy is to be rolled back.
func (i Intent) RollsBack() bool { return i == RollBack || i == Delete }
