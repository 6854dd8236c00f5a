// SPDX-License-Identifier: Apache-2.0

package system

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// What random specs are made of.
var (
	taints = []v1alpha1.Taint{
		{Key: "cpnp.test/a", Effect: corev1.TaintEffectNoSchedule},
		{Key: "cpnp.test/a", Effect: corev1.TaintEffectPreferNoSchedule},
		{Key: "cpnp.test/b", Effect: corev1.TaintEffectNoSchedule},
		{Key: "cpnp.test/c", Effect: corev1.TaintEffectNoExecute, AllowEviction: true},
	}
	components = []string{"etcd", "coredns", "webhook"}
)

// spec returns a random spec for a policy of the corner.
func (c *corner) spec(policy string) *v1alpha1.ControlPlaneNetworkPolicySpec {
	spec := &v1alpha1.ControlPlaneNetworkPolicySpec{
		Mode:           v1alpha1.ModeEnforce,
		NodeSelector:   c.nodeSelector(),
		DeletionPolicy: v1alpha1.DeletionRevert,
	}
	if c.chance(20) {
		spec.Mode = v1alpha1.ModeAudit
	}
	if policy == c.main() { // the rival may go for good, and must not leave anything behind then
		spec.Suspend = c.chance(12)
		if c.chance(25) {
			spec.DeletionPolicy = v1alpha1.DeletionOrphan
		}
	}
	for spec.Network == nil && spec.Taints == nil && spec.Services == nil {
		spec.Network, spec.Taints, spec.Services = c.network(), c.taints(), c.trafficPolicies()
	}
	return spec
}

func (c *corner) selector(labels ...string) v1alpha1.LabelSelector {
	selector := v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{}}
	for i := 0; i < len(labels); i += 2 {
		selector.MatchLabels[labels[i]] = v1alpha1.LabelValue(labels[i+1])
	}
	return selector
}

func (c *corner) nodeSelector() v1alpha1.LabelSelector {
	switch c.random.IntN(4) {
	case 0:
		return c.selector("corner", c.name)
	case 1:
		return c.selector("corner", c.name, "role", "worker")
	default:
		return c.selector("corner", c.name, "role", "cp")
	}
}

func (c *corner) taints() []v1alpha1.Taint {
	var some []v1alpha1.Taint
	for _, taint := range taints {
		if c.chance(45) {
			taint.Value = c.one("", "v1", "v2")
			some = append(some, taint)
		}
	}
	return some
}

func (c *corner) trafficPolicies() []v1alpha1.ServiceTrafficPolicy {
	var rules []v1alpha1.ServiceTrafficPolicy
	for _, name := range []string{"first", "second"} {
		rule := v1alpha1.ServiceTrafficPolicy{Name: name, Selector: c.selector("corner", c.name), NamespaceSelector: &v1alpha1.LabelSelector{}}
		if c.chance(50) {
			rule.Selector = c.selector("corner", c.name, "tier", c.one("front", "back"))
		}
		if c.chance(40) {
			*rule.NamespaceSelector = c.selector("zone", "x")
		}
		if c.chance(60) {
			rule.InternalTrafficPolicy = corev1.ServiceInternalTrafficPolicy(c.one("Cluster", "Local", "Local"))
		}
		if c.chance(40) {
			rule.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicy(c.one("Cluster", "Local", "Local"))
		}
		if rule.InternalTrafficPolicy == "Local" || rule.ExternalTrafficPolicy == "Local" {
			rule.LocalPolicy = v1alpha1.LocalForce // where the endpoints are is a story of its own
		}
		if c.chance(50) {
			rule.TrafficDistribution = c.one("PreferClose", "PreferSameNode")
		}
		if c.chance(30) {
			rule.ConflictPolicy = v1alpha1.ConflictOverride
		}
		if rule.InternalTrafficPolicy+corev1.ServiceInternalTrafficPolicy(rule.ExternalTrafficPolicy) != "" || rule.TrafficDistribution != "" {
			rules = append(rules, rule)
		}
	}
	return rules
}

func (c *corner) network() *v1alpha1.NetworkSpec {
	network := &v1alpha1.NetworkSpec{Peers: []v1alpha1.Peer{
		{Name: "admins", CIDRs: []v1alpha1.CIDR{v1alpha1.CIDR(c.one("10.9.0.0/16", "10.8.0.0/16")), "2001:db8::/32"}},
		{Name: "balancer", CIDRs: []v1alpha1.CIDR{v1alpha1.CIDR(c.one("192.0.2.1/32", "192.0.2.2/32"))}},
	}}
	for _, name := range components {
		if !c.chance(45) {
			continue
		}
		component := v1alpha1.Component{Name: name, Pods: &v1alpha1.PodSelector{Namespace: c.namespace(c.one("a", "b")), Selector: c.selector("app", c.one(components...))}}
		if c.chance(75) {
			component.Ports = []v1alpha1.Port{{Protocol: v1alpha1.Protocol(c.one("TCP", "UDP")), Port: int32(c.random.IntN(3) + 2379)}}
			component.AllowFrom = []v1alpha1.PeerReference{c.peer()}
		}
		if c.chance(35) || component.AllowFrom == nil {
			to := c.peer()
			component.AllowTo = []v1alpha1.Destination{{Role: to.Role, Peer: to.Peer}}
		}
		network.Components = append(network.Components, component)
	}
	if network.Components == nil {
		return nil
	}
	return network
}

func (c *corner) peer() v1alpha1.PeerReference {
	switch c.random.IntN(8) {
	case 0, 1, 2:
		return v1alpha1.PeerReference{Role: v1alpha1.RoleControlPlane}
	case 3:
		return v1alpha1.PeerReference{Role: v1alpha1.RolePods}
	case 4, 5:
		return v1alpha1.PeerReference{Peer: "admins"}
	default:
		return v1alpha1.PeerReference{Peer: "balancer"}
	}
}
