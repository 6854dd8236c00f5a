// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"slices"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/intent"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
)

// obsoleteOnHosts returns a function that tells whether to remove an unplanned live object
// for hosts.
func obsoleteOnHosts(policy *plan.Policy, policies []plan.Policy, hosts plan.Hosts, there backend.Live) func(plan.Object) bool {
	return func(live plan.Object) bool {
		if backend.TraitsOf(live).Common {
			return hosts.Intent != intent.Hold && isLastUser(live, policy, policies, there) && backend.IsWrittenByOperator(live)
		}
		ours := madeForHosts(live, policy.Name, policies) || opensFailsafes(hosts, live) && backend.IsWrittenByOperator(live)
		return ours && !staysOnHosts(hosts, live)
	}
}

// opensFailsafes tells whether a live object is the configuration of failsafe ports, of
// any policy, that must go before a node gets other rules.
func opensFailsafes(hosts plan.Hosts, live plan.Object) bool {
	traits := backend.TraitsOf(live)
	return traits.Stage == backend.StageScopedFailsafes && hosts.Targets[traits.Node].OpenFailsafes
}

// staysOnHosts tells whether an unplanned object of the policy stays unchanged: a node
// keeps the object or may be rolled back to the object, or the intent is Hold.
func staysOnHosts(hosts plan.Hosts, live plan.Object) bool {
	traits := backend.TraitsOf(live)
	target, known := hosts.Targets[traits.Node]
	switch traits.Stage {
	case backend.StageEndpoints:
		return target.KeepEndpoints || !known && hosts.Intent == intent.Hold
	case backend.StageScopedFailsafes:
		hasNow := target.Now == rollout.Ruleset{Version: traits.Version, FailsafesScoped: true}
		return target.KeepFailsafes || hasNow || !known && hosts.Intent == intent.Hold
	}
	return hosts.Intent == intent.Hold || olderRulesNeed(hosts, traits)
}

// olderRulesNeed tells whether an older version of the rules, which is still in use, needs
// an object.
func olderRulesNeed(hosts plan.Hosts, object backend.Traits) bool {
	if object.Stage == backend.StageAddresses {
		return hosts.OlderVersionsInUse() && !slices.ContainsFunc(hosts.Now.Sets, func(s backend.Set) bool { return s.Name == object.Set })
	}
	return object.Version != "" && object.Version != hosts.Whole.Version && hosts.VersionsInUse.Has(object.Version)
}

// isLastUser tells whether no other policy needs a common object and the common object
// contains no foreign object. While there are too many objects, foreign objects are not
// known.
func isLastUser(common plan.Object, policy *plan.Policy, policies []plan.Policy, there backend.Live) bool {
	needed := func(p plan.Policy) bool { return p.Name != policy.Name && p.ProtectsHosts() }
	ours := func(object plan.Object) bool { return madeForHosts(object, policy.Name, policies) }
	return !there.Availability().Partial && !slices.ContainsFunc(policies, needed) && len(there.ForeignIn(common, ours)) == 0
}

// isRestored tells whether an object is a former write of the operator, restored by another
// writer. A shared object has no stamp.
func isRestored(live plan.Object) bool {
	return !plan.IsShared(live) && plan.MatchesStamp(live) && declaredElsewhere(live) == "" || restoredEndpoint(live)
}

// madeForHosts tells whether the operator made the object for the hosts of the policy, with
// any other policies present. The label decides. If the label is missing, the object's name
// decides, as long as the name fits this policy and no other. A common object belongs to no
// policy.
func madeForHosts(live plan.Object, policy string, policies []plan.Policy) bool {
	kinds, known := backend.KindsOf(live)
	if !known || backend.TraitsOf(live).Common {
		return false
	}
	label, labelled := live.GetLabels()[v1alpha1.LabelPolicy]
	switch {
	case !backend.IsWrittenByOperator(live):
		return labelled && label == policy && isRestored(live)
	case labelled || plan.IsShared(live):
		return label == policy
	}
	return kinds.HasNameFor(live, policy) && !slices.ContainsFunc(policies, func(p plan.Policy) bool {
		return len(p.Name) > len(policy) && kinds.HasNameFor(live, p.Name)
	})
}
