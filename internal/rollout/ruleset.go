// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// Ruleset is the restriction of a node. The zero value restricts nothing.
type Ruleset struct {
	// Version is the hash of the rules; empty without rules.
	Version string
	// FailsafesScoped tells whether failsafe ports admit only the declared peers. Open
	// failsafe ports admit everybody, whatever the rules say.
	FailsafesScoped bool
}

// Restricts tells whether the ruleset has rules.
func (r Ruleset) Restricts() bool { return r.Version != "" }

// RulesetFor returns the ruleset of a node by its persisted enactment. Failsafe ports are
// scoped only after the node has soaked with open failsafe ports, and while the node
// waits with a previous ruleset with scoped failsafe ports.
//
// An enactment without a phase was interrupted while being created: the caller
// must not write to the node until there is a phase.
func RulesetFor(e *v1alpha1.ControlPlaneNodeEnactment) Ruleset {
	if e == nil {
		return Ruleset{}
	}
	switch PhaseOf(e) {
	case v1alpha1.PhaseProgressing, v1alpha1.PhaseEnforced:
		return rulesetOf(e.Status.Ruleset, e.Status.FailsafesScopedTime)
	}
	return PreviousRulesetOf(e)
}

// PreviousRulesetOf returns the ruleset that a node rolls back to.
func PreviousRulesetOf(e *v1alpha1.ControlPlaneNodeEnactment) Ruleset {
	return rulesetOf(e.Status.PreviousRuleset, e.Status.PreviousFailsafesScopedTime)
}

func rulesetOf(version string, scoped *metav1.Time) Ruleset {
	return Ruleset{Version: version, FailsafesScoped: version != "" && scoped != nil}
}
