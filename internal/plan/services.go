// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// The fields of a Service that hold a traffic policy.
const (
	ExternalTrafficPolicy = "externalTrafficPolicy"
	InternalTrafficPolicy = "internalTrafficPolicy"
	TrafficDistribution   = "trafficDistribution"
)

// TrafficPolicy returns the value of one of those fields; nil if it is not set.
func TrafficPolicy(service *corev1.Service, field string) *string {
	value := ""
	switch field {
	case ExternalTrafficPolicy:
		value = string(service.Spec.ExternalTrafficPolicy)
	case InternalTrafficPolicy:
		if service.Spec.InternalTrafficPolicy != nil {
			value = string(*service.Spec.InternalTrafficPolicy)
		}
	case TrafficDistribution:
		if service.Spec.TrafficDistribution != nil {
			value = *service.Spec.TrafficDistribution
		}
	}
	if value == "" {
		return nil
	}
	return &value
}

// Service returns which traffic policies the Service should have. Policies
// come oldest first.
func Service(service state.Service, policies []Policy) (claims []Claim, losses []Loss) {
	var all []Claim
	for i := range policies {
		policy := &policies[i]
		if !policy.Active() {
			continue
		}
		for _, rule := range policy.services {
			if rule.selects(service) {
				all = append(all, rule.claims(policy, service)...)
			}
		}
	}
	return settle(fmt.Sprintf("Service/%s/%s", service.Namespace, service.Name), all)
}

// SelectsService says whether the policy has something to say of the Service.
func (p *Policy) SelectsService(service state.Service) bool {
	for _, rule := range p.services {
		if rule.selects(service) {
			return true
		}
	}
	return false
}

// SelectsServiceLabels says whether the policy selects Services with these
// labels in some namespace.
func (p *Policy) SelectsServiceLabels(service map[string]string) bool {
	for _, rule := range p.services {
		if rule.selector.Matches(labels.Set(service)) {
			return true
		}
	}
	return false
}

func (r serviceRule) selects(service state.Service) bool {
	return r.selector.Matches(labels.Set(service.Labels)) && r.namespaces.Matches(service.NamespaceLabels)
}

func (r serviceRule) claims(policy *Policy, service state.Service) []Claim {
	var claims []Claim
	add := func(field, want string, restrict func(*Claim)) {
		if want == "" {
			return
		}
		override := r.ConflictPolicy == v1alpha1.ConflictOverride
		claim := Claim{Field: field, Want: want, Policy: policy, Override: override}
		restrict(&claim)
		claims = append(claims, claim)
	}
	add(ExternalTrafficPolicy, string(r.ExternalTrafficPolicy), func(c *Claim) { restrictExternal(c, service) })
	add(InternalTrafficPolicy, string(r.InternalTrafficPolicy), func(c *Claim) { restrictToProxied(c, service) })
	add(TrafficDistribution, r.TrafficDistribution, func(c *Claim) { restrictToProxied(c, service) })
	return claims
}

// restrictExternal holds back Local where it would black-hole traffic: a node
// without a ready endpoint drops what arrives for the Service.
func restrictExternal(claim *Claim, service state.Service) {
	switch service.Spec.Type {
	case corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeNodePort:
		local := string(corev1.ServiceExternalTrafficPolicyLocal)
		if claim.Want == local && string(service.Spec.ExternalTrafficPolicy) != local && !service.LocalReady {
			claim.HeldBack = "no ready endpoint on a node that load balancers use: with Local all its traffic would be dropped"
		}
	default:
		claim.NotApplicable = fmt.Sprintf("only Services of type NodePort and LoadBalancer have it; this one is of type %s", service.Spec.Type)
	}
}

// restrictToProxied leaves out Services that nothing proxies.
func restrictToProxied(claim *Claim, service state.Service) {
	if service.Spec.Type == corev1.ServiceTypeExternalName {
		claim.NotApplicable = "a Service of type ExternalName is a DNS name only, and has no traffic policy"
	}
}

// NeedsLocal says whether it matters to the policies if the Service has a ready
// endpoint on a node that load balancers use.
func NeedsLocal(policies []Policy) func(*corev1.Service) bool {
	return func(service *corev1.Service) bool {
		if service.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal {
			return false
		}
		for i := range policies {
			for _, rule := range policies[i].services {
				if rule.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal && rule.selector.Matches(labels.Set(service.Labels)) {
					return true
				}
			}
		}
		return false
	}
}
