// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
)

// LiveRuleset returns the ruleset that a node has: the version of the policy's rules, and
// whether failsafe ports are scoped as the version requires. If the node's interfaces have
// several versions, the result is a version other than calledFor. endpoints are the endpoints
// in live.
func LiveRuleset(policy, node, calledFor string, live backend.Live, endpoints []backend.Endpoint) rollout.Ruleset {
	version := LiveVersion(policy, node, calledFor, endpoints)
	by, scopedFor, scoped := live.ScopedFailsafes(node)
	return rollout.Ruleset{Version: version, FailsafesScoped: version != "" && scoped && by == policy && scopedFor == version}
}

// LiveVersion returns the version of the ruleset that LiveRuleset returns.
func LiveVersion(policy, node, calledFor string, endpoints []backend.Endpoint) string {
	version := ""
	for _, e := range EndpointsOn(policy, node, endpoints) {
		if !e.Enforcing {
			continue
		}
		if version = e.Version; version != calledFor {
			return version
		}
	}
	return version
}
