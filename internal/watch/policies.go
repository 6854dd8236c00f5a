// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
)

// Policies keeps the compiled policies between events. Every event of a node, a Service or
// an endpoint asks for the policies, and to compile their selectors takes longer than most
// other steps of a repair. The result is shared, and nobody may change it.
//
// The zero value is ready to use, and a nil value keeps nothing. Policies is safe for
// concurrent use.
type Policies struct {
	mu       sync.Mutex
	versions []policyVersion
	compiled []plan.Policy
	compiler plan.Compiler
}

// policyVersion identifies one state of a policy.
type policyVersion struct {
	uid             types.UID
	name            string
	resourceVersion string
}

// Compile returns the compiled policies. Policies in the same order and of the same versions
// as the last time are not compiled again, and of other versions only the changed selectors
// are.
func (p *Policies) Compile(policies []v1alpha1.ControlPlaneNetworkPolicy) []plan.Policy {
	if p == nil {
		return plan.Compile(policies)
	}
	versions, known := versionsOf(policies)
	p.mu.Lock()
	defer p.mu.Unlock()
	if known && p.compiled != nil && slices.Equal(versions, p.versions) {
		return p.compiled
	}
	compiled := p.compiler.Compile(policies)
	p.versions, p.compiled = versions, compiled
	return compiled
}

// versionsOf returns the versions of policies. known is false if a policy has no version,
// because no API server has stored the policy.
func versionsOf(policies []v1alpha1.ControlPlaneNetworkPolicy) (versions []policyVersion, known bool) {
	known = true
	for i := range policies {
		p := &policies[i]
		known = known && p.UID != "" && p.ResourceVersion != ""
		versions = append(versions, policyVersion{p.UID, p.Name, p.ResourceVersion})
	}
	return versions, known
}
