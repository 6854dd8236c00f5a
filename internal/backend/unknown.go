// SPDX-License-Identifier: Apache-2.0

package backend

import (
	"errors"
	"net/netip"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// Unknown is the backend of a cluster that the operator has not read yet. The zero value is
// ready to use.
type Unknown struct{}

var findingOut = Obstacle{v1alpha1.ReasonCalicoUnavailable, "It is being found out whether Calico is there"}

// Availability says that the backend cannot be used yet.
func (Unknown) Availability() Availability {
	return Availability{MayHideObjects: true, Unavailable: &findingOut}
}

// WithProblem returns the same.
func (u Unknown) WithProblem(string) Live { return u }

// Objects returns nothing.
func (Unknown) Objects() []Object { return nil }

// ForeignIn returns nothing.
func (Unknown) ForeignIn(Object, func(Object) bool) []Object { return nil }

// HostEndpoints returns nothing.
func (Unknown) HostEndpoints() []Endpoint { return nil }

// SetNetworks returns nothing.
func (Unknown) SetNetworks(string, string) ([]netip.Prefix, bool) { return nil, false }

// RuleInterfaces returns nothing.
func (Unknown) RuleInterfaces(string, string) []string { return nil }

// Failsafes returns nothing.
func (Unknown) Failsafes() []Failsafe { return nil }

// ScopedFailsafes returns nothing.
func (Unknown) ScopedFailsafes(string) (policy, version string, scoped bool) { return "", "", false }

// PodNetworks returns nothing.
func (Unknown) PodNetworks() []netip.Prefix { return nil }

// WithRulesets returns the hosts without rulesets.
func (Unknown) WithRulesets(hosts Hosts) Hosts { return hosts }

// Render returns an error.
func (Unknown) Render(Hosts) ([]Object, error) { return nil, errors.New(findingOut.Message) }

// RenderEndpoints returns nothing.
func (Unknown) RenderEndpoints(Hosts) []Object { return nil }

// EndpointInterfaces returns nothing.
func (Unknown) EndpointInterfaces(Hosts) []string { return nil }

// FailsafesInForce returns nothing.
func (Unknown) FailsafesInForce(Hosts) []Failsafe { return nil }

// ScopeFailsafes returns nothing.
func (Unknown) ScopeFailsafes(Hosts) ([]Failsafe, bool) { return nil, false }

// CanScopeFailsafes tells that no node can.
func (Unknown) CanScopeFailsafes(string) bool { return false }
