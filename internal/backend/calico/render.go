// SPDX-License-Identifier: Apache-2.0

// Package calico renders the protection of control-plane hosts as objects of Calico's
// projectcalico.org/v3. The package is pure: the same input gives the same objects, in a
// safe order of writes.
//
// docs/calico.md explains the rendered objects.
package calico

import (
	"slices"

	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
)

// WithRulesets returns the hosts with the version of their rules, and with the whole
// ruleset on every node, as at the end of a rollout.
func WithRulesets(h backend.Hosts) backend.Hosts {
	h.Version = rulesVersion(h)
	_, scoped := ScopedFailsafes(h)
	h.Nodes = slices.Clone(h.Nodes)
	for i := range h.Nodes {
		node := &h.Nodes[i]
		node.Ruleset = rollout.Ruleset{
			Version: h.Version, FailsafesScoped: h.ScopeFailsafes && scoped && !node.Foreign && !node.KeepFailsafes,
		}
	}
	return h
}

// Render returns the objects in a safe order of writes: allowing objects come before
// denying objects, policies come before the selected endpoints, and scoped failsafe ports
// come last. After every write, at least the traffic of the final state is allowed. Objects
// are removed in the reverse order.
func Render(hosts backend.Hosts) ([]backend.Object, error) {
	if err := checkRenderable(hosts); err != nil {
		return nil, err
	}
	objects := []backend.Object{newTier()}
	for _, set := range networkSets(hosts) {
		objects = append(objects, set)
	}
	for _, policy := range renderPolicies(hosts) {
		objects = append(objects, policy)
	}
	objects = append(objects, RenderEndpoints(hosts)...)
	for _, configuration := range felixConfigurations(hosts) {
		objects = append(objects, configuration)
	}
	return objects, nil
}
