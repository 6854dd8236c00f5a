// SPDX-License-Identifier: Apache-2.0

package calico

import "github.com/cpnp-dev/cpnp-operator/internal/backend"

// Renderer is the renderer of Calico. The zero value is ready to use.
type Renderer struct{}

var _ backend.Live = Live{}

// WithRulesets returns the hosts with their rulesets.
func (Renderer) WithRulesets(hosts backend.Hosts) backend.Hosts { return WithRulesets(hosts) }

// Render returns the objects of Calico for the hosts.
func (Renderer) Render(hosts backend.Hosts) ([]backend.Object, error) { return Render(hosts) }

// RenderEndpoints returns the host endpoints alone.
func (Renderer) RenderEndpoints(hosts backend.Hosts) []backend.Object { return RenderEndpoints(hosts) }

// EndpointInterfaces returns the interfaces of the host endpoints of a node.
func (Renderer) EndpointInterfaces(hosts backend.Hosts) []string { return EndpointInterfaces(hosts) }

// FailsafesInForce returns the failsafe ports of Felix.
func (Renderer) FailsafesInForce(hosts backend.Hosts) []backend.Failsafe {
	return FailsafesInForce(hosts)
}

// ScopeFailsafes returns the failsafe ports of Felix, scoped to the permitted sources.
func (Renderer) ScopeFailsafes(hosts backend.Hosts) ([]backend.Failsafe, bool) {
	return ScopedFailsafes(hosts)
}

// CanScopeFailsafes tells whether Felix on a node can have a configuration of its own.
func (Renderer) CanScopeFailsafes(node string) bool { return CanScopeFailsafes(node) }
