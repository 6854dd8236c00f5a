// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"maps"
	"slices"
	"sync"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// Compiler compiles policies, and keeps the compiled selectors. A status is written every
// second while there is drift, and makes another version of a policy with the same
// selectors. The zero value is ready to use. Compiler is safe for concurrent use.
type Compiler struct {
	mu   sync.Mutex
	last []Policy
}

// Compile returns the same as the function Compile. The result belongs to the caller.
func (c *Compiler) Compile(policies []v1alpha1.ControlPlaneNetworkPolicy) []Policy {
	c.mu.Lock()
	defer c.mu.Unlock()
	compiled := make([]Policy, 0, len(policies))
	for i := range policies {
		known := FindPolicy(c.last, policies[i].Name)
		if known == nil || !known.hasSelectorsOf(&policies[i].Spec) {
			compiled = append(compiled, Compile(policies[i:i+1])...)
			continue
		}
		compiled = append(compiled, known.withSelectors(&policies[i]))
	}
	c.last = slices.Clone(compiled)
	return compiled
}

// hasSelectorsOf tells whether the policy was compiled from the selectors of the spec. The
// error of an invalid policy also follows from names, so an invalid policy is compiled anew.
func (p *Policy) hasSelectorsOf(spec *v1alpha1.ControlPlaneNetworkPolicySpec) bool {
	return p.Invalid == nil && len(p.Spec.Services) == len(spec.Services) &&
		slices.EqualFunc(selectorsIn(&p.Spec), selectorsIn(spec), sameSelector)
}

// withSelectors returns the compiled form of a policy with the same selectors.
func (p *Policy) withSelectors(policy *v1alpha1.ControlPlaneNetworkPolicy) Policy {
	compiled := Policy{ControlPlaneNetworkPolicy: policy, nodes: p.nodes, services: slices.Clone(p.services)}
	for i := range compiled.services {
		compiled.services[i].ServiceTrafficPolicy = &policy.Spec.Services[i]
	}
	return compiled
}

// selectorsIn returns all selectors that Compile reads, nil for a selector that is not there.
func selectorsIn(spec *v1alpha1.ControlPlaneNetworkPolicySpec) []*v1alpha1.LabelSelector {
	read := make([]*v1alpha1.LabelSelector, 0, 64)
	read = append(read, &spec.NodeSelector)
	for i := range spec.Services {
		read = append(read, &spec.Services[i].Selector, spec.Services[i].NamespaceSelector)
	}
	if spec.Network == nil {
		return read
	}
	for i := range spec.Network.Components {
		if component := &spec.Network.Components[i]; !component.OnHosts() {
			read = append(read, &component.Pods.Selector)
		}
	}
	return read
}

func sameSelector(a, b *v1alpha1.LabelSelector) bool {
	if a == nil || b == nil {
		return a == b
	}
	return maps.Equal(a.MatchLabels, b.MatchLabels) && slices.EqualFunc(a.MatchExpressions, b.MatchExpressions, sameRequirement)
}

func sameRequirement(a, b v1alpha1.LabelSelectorRequirement) bool {
	return a.Key == b.Key && a.Operator == b.Operator && slices.Equal(a.Values, b.Values)
}
