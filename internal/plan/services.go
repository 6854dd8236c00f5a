// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// The traffic policies of a Service, by field name.
const (
	ExternalTrafficPolicy = "externalTrafficPolicy"
	InternalTrafficPolicy = "internalTrafficPolicy"
	TrafficDistribution   = "trafficDistribution"
)

// TrafficPolicies returns the field names of the traffic policies.
func TrafficPolicies() []string {
	return []string{ExternalTrafficPolicy, InternalTrafficPolicy, TrafficDistribution}
}

// TrafficPolicy returns the value of a traffic policy by its field name; nil if unset.
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

// ServiceClaims returns the claims on a Service's traffic policies, and the claims that lost.
// policies are sorted from oldest to newest.
func ServiceClaims(service state.Service, policies []Policy) (claims []Claim, losses []Loss) {
	var all []Claim
	for i := range policies {
		policy := &policies[i]
		if !policy.Claims() {
			continue
		}
		for _, rule := range policy.services {
			if rule.selectsService(service) {
				all = append(all, rule.claimsOn(policy, service)...)
			}
		}
	}
	return resolvePrecedence(fmt.Sprintf("Service/%s/%s", service.Namespace, service.Name), all)
}

// SelectsService tells whether an entry of the policy selects the Service.
func (p *Policy) SelectsService(service state.Service) bool {
	for _, rule := range p.services {
		if rule.selectsService(service) {
			return true
		}
	}
	return false
}

// SelectsServiceLabels tells whether an entry of the policy selects Services with the
// labels in some namespace.
func (p *Policy) SelectsServiceLabels(service map[string]string) bool {
	for _, rule := range p.services {
		if rule.selector.Matches(labels.Set(service)) {
			return true
		}
	}
	return false
}

func (r serviceRule) selectsService(service state.Service) bool {
	return r.selector.Matches(labels.Set(service.Labels)) && r.namespaces.Matches(service.NamespaceLabels)
}

func (r serviceRule) claimsOn(policy *Policy, service state.Service) []Claim {
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
	add(ExternalTrafficPolicy, string(r.ExternalTrafficPolicy), func(c *Claim) { r.restrictExternal(c, service) })
	add(InternalTrafficPolicy, string(r.InternalTrafficPolicy), func(c *Claim) { r.restrictInternal(c, service) })
	add(TrafficDistribution, r.TrafficDistribution, func(c *Claim) { restrictToProxied(c, service) })
	return claims
}

// restrictExternal leaves out Services without traffic from outside, and holds a claim of
// Local that would drop traffic.
func (r serviceRule) restrictExternal(claim *Claim, service state.Service) {
	if !state.IsExposed(service.Service) {
		claim.NotApplicable = fmt.Sprintf("only Services of type NodePort or LoadBalancer, and Services with externalIPs, have this field; "+
			"this Service is of type %s", service.Spec.Type)
		return
	}
	r.gateExternal(claim, service)
}

// restrictInternal leaves out Services without a proxy, and holds a claim of Local that
// would drop traffic.
func (r serviceRule) restrictInternal(claim *Claim, service state.Service) {
	restrictToProxied(claim, service)
	if state.IsHeadless(service.Service) {
		claim.NotApplicable = "a headless Service (clusterIP None) is DNS records only: its clients choose endpoints by themselves"
	}
	if claim.NotApplicable == "" {
		r.gateInternal(claim, service)
	}
}

// restrictToProxied leaves out Services of type ExternalName.
func restrictToProxied(claim *Claim, service state.Service) {
	if service.Spec.Type == corev1.ServiceTypeExternalName {
		claim.NotApplicable = "a Service of type ExternalName is a DNS name only, and has no traffic policy"
	}
}
