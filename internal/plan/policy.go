// SPDX-License-Identifier: Apache-2.0

// Package plan decides the wanted state of the cluster from the policies and a snapshot of
// the cluster. The package is pure: the same input gives the same output.
package plan

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// Policy is a policy with compiled selectors.
type Policy struct {
	*v1alpha1.ControlPlaneNetworkPolicy

	// Invalid is the error of a selector. An invalid policy claims neither nodes nor fields.
	Invalid error

	nodes    labels.Selector
	services []serviceRule
}

type serviceRule struct {
	*v1alpha1.ServiceTrafficPolicy
	selector, namespaces labels.Selector
}

// Compile prepares policies for planning. The result keeps the order of precedence: oldest
// first.
func Compile(policies []v1alpha1.ControlPlaneNetworkPolicy) []Policy {
	compiled := make([]Policy, 0, len(policies))
	for i := range policies {
		policy := Policy{ControlPlaneNetworkPolicy: &policies[i], nodes: labels.Nothing()}
		if err := policy.compile(); err != nil {
			policy.Invalid, policy.nodes, policy.services = err, labels.Nothing(), nil
		}
		compiled = append(compiled, policy)
	}
	return compiled
}

func (p *Policy) compile() (err error) {
	if p.nodes, err = p.Spec.NodeSelector.Compile(); err != nil {
		return fmt.Errorf("spec.nodeSelector: %w", err)
	}
	if p.Spec.Network != nil {
		for _, c := range p.Spec.Network.Components {
			if c.OnHosts() {
				continue
			}
			if _, err := c.Pods.Selector.Compile(); err != nil {
				return fmt.Errorf("spec.network.components[%s].pods.selector: %w", c.Name, err)
			}
		}
	}
	for i := range p.Spec.Services {
		rule := serviceRule{ServiceTrafficPolicy: &p.Spec.Services[i], namespaces: labels.Everything()}
		if rule.selector, err = rule.Selector.Compile(); err != nil {
			return fmt.Errorf("spec.services[%s].selector: %w", rule.Name, err)
		}
		if rule.NamespaceSelector != nil {
			if rule.namespaces, err = rule.NamespaceSelector.Compile(); err != nil {
				return fmt.Errorf("spec.services[%s].namespaceSelector: %w", rule.Name, err)
			}
		}
		p.services = append(p.services, rule)
	}
	return nil
}

// SelectsNode tells whether the policy selects the node.
func (p *Policy) SelectsNode(node *corev1.Node) bool {
	return p.nodes.Matches(labels.Set(node.Labels))
}

// OverrideReason returns the declared reason for writing although required flows may be cut;
// empty without a readable reason.
func (p *Policy) OverrideReason() string {
	reason := strings.TrimSpace(p.Annotations[v1alpha1.AnnotationAllowLockout])
	if wording.IsBlank(reason) {
		return ""
	}
	return reason
}

// IsWritable tells whether nodes and Services may be written for the policy. The policy must
// enforce, must have the finalizer, by which a rollback follows a deletion, and must be
// verified in the present generation, at least for all writes except writes for hosts.
func (p *Policy) IsWritable() bool {
	return p.Enforces() && slices.Contains(p.Finalizers, v1alpha1.Finalizer) && allowsOffHosts(p.verifiedCondition())
}

func allowsOffHosts(verified *metav1.Condition) bool {
	return verified != nil && (verified.Status == metav1.ConditionTrue || HoldsHostsOnly(verified.Reason))
}

// VerifiedOffHosts returns the generation for which the condition Verified allows all writes
// except writes for hosts; 0 if there is none.
func VerifiedOffHosts(policy *v1alpha1.ControlPlaneNetworkPolicy) int64 {
	verified := meta.FindStatusCondition(policy.Status.Conditions, v1alpha1.ConditionVerified)
	if !allowsOffHosts(verified) {
		return 0
	}
	return verified.ObservedGeneration
}

// HoldsHostsOnly tells whether the reason of a policy that is not verified matters to writes
// for hosts only: NetworkPolicies, taints and Services are written all the same.
func HoldsHostsOnly(reason string) bool {
	switch reason {
	case v1alpha1.ReasonProfileUnknown, v1alpha1.ReasonCalicoUnavailable, v1alpha1.ReasonCalicoTooLarge:
		return true
	}
	return false
}

// MayBecomeWritable tells whether the policy is Writable, or enforces and is not verified
// yet in its present generation.
func (p *Policy) MayBecomeWritable() bool {
	return p.IsWritable() || p.Enforces() && p.verifiedCondition() == nil
}

// verifiedCondition returns the condition Verified of the policy's present generation; nil if there
// is none.
func (p *Policy) verifiedCondition() *metav1.Condition {
	verified := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionVerified)
	if verified == nil || verified.ObservedGeneration != p.Generation {
		return nil
	}
	return verified
}

// FindPolicy returns the policy with the name, or nil.
func FindPolicy(policies []Policy, name string) *Policy {
	for i := range policies {
		if policies[i].Name == name {
			return &policies[i]
		}
	}
	return nil
}
