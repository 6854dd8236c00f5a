// SPDX-License-Identifier: Apache-2.0

package system

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// The parts of random specs.
var (
	taints = []v1alpha1.Taint{
		{Key: "cpnp.test/a", Effect: corev1.TaintEffectNoSchedule},
		{Key: "cpnp.test/a", Effect: corev1.TaintEffectPreferNoSchedule},
		{Key: "cpnp.test/b", Effect: corev1.TaintEffectNoSchedule},
		{Key: "cpnp.test/c", Effect: corev1.TaintEffectNoExecute, AllowEviction: true},
	}
	components = []string{"etcd", "coredns", "webhook"}
)

// randomSpec returns a random spec for a policy of the corner.
func (c *corner) randomSpec(policy string) *v1alpha1.ControlPlaneNetworkPolicySpec {
	spec := &v1alpha1.ControlPlaneNetworkPolicySpec{
		Mode:           v1alpha1.ModeEnforce,
		NodeSelector:   c.nodeSelector(),
		DeletionPolicy: v1alpha1.DeletionRevert,
	}
	if c.happensIn(20) {
		spec.Mode = v1alpha1.ModeAudit
	}
	if policy == c.mainPolicy() { // the rival may be deleted for good, and must then leave no object behind
		spec.Suspend = c.happensIn(12)
		if c.happensIn(25) {
			spec.DeletionPolicy = v1alpha1.DeletionOrphan
		}
	}
	for spec.Network == nil && spec.Taints == nil && spec.Services == nil {
		spec.Network, spec.Taints, spec.Services = c.randomNetwork(), c.randomTaints(), c.trafficPolicies()
	}
	return spec
}

func (c *corner) selectorOf(labels ...string) v1alpha1.LabelSelector {
	selector := v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{}}
	for i := 0; i < len(labels); i += 2 {
		selector.MatchLabels[labels[i]] = v1alpha1.LabelValue(labels[i+1])
	}
	return selector
}

func (c *corner) nodeSelector() v1alpha1.LabelSelector {
	switch c.random.IntN(4) {
	case 0:
		return c.selectorOf("corner", c.name)
	case 1:
		return c.selectorOf("corner", c.name, "role", "worker")
	default:
		return c.selectorOf("corner", c.name, "role", "cp")
	}
}

func (c *corner) randomTaints() []v1alpha1.Taint {
	var some []v1alpha1.Taint
	for _, taint := range taints {
		if c.happensIn(45) {
			taint.Value = c.pickOne("", "v1", "v2")
			some = append(some, taint)
		}
	}
	return some
}

func (c *corner) trafficPolicies() []v1alpha1.ServiceTrafficPolicy {
	var rules []v1alpha1.ServiceTrafficPolicy
	for _, name := range []string{"first", "second"} {
		rule := v1alpha1.ServiceTrafficPolicy{Name: name, Selector: c.selectorOf("corner", c.name), NamespaceSelector: &v1alpha1.LabelSelector{}}
		if c.happensIn(50) {
			rule.Selector = c.selectorOf("corner", c.name, "tier", c.pickOne("front", "back"))
		}
		if c.happensIn(40) {
			*rule.NamespaceSelector = c.selectorOf("zone", "x")
		}
		if c.happensIn(60) {
			rule.InternalTrafficPolicy = corev1.ServiceInternalTrafficPolicy(c.pickOne("Cluster", "Local", "Local"))
		}
		if c.happensIn(40) {
			rule.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicy(c.pickOne("Cluster", "Local", "Local"))
		}
		if rule.InternalTrafficPolicy == "Local" || rule.ExternalTrafficPolicy == "Local" {
			rule.LocalPolicy = v1alpha1.LocalForce // endpoints have a story of their own
		}
		if c.happensIn(50) {
			rule.TrafficDistribution = c.pickOne("PreferClose", "PreferSameNode")
		}
		if c.happensIn(30) {
			rule.ConflictPolicy = v1alpha1.ConflictOverride
		}
		if rule.InternalTrafficPolicy+corev1.ServiceInternalTrafficPolicy(rule.ExternalTrafficPolicy) != "" || rule.TrafficDistribution != "" {
			rules = append(rules, rule)
		}
	}
	return rules
}

func (c *corner) randomNetwork() *v1alpha1.NetworkSpec {
	network := &v1alpha1.NetworkSpec{Peers: []v1alpha1.Peer{
		{Name: "admins", CIDRs: []v1alpha1.CIDR{v1alpha1.CIDR(c.pickOne("10.9.0.0/16", "10.8.0.0/16")), "2001:db8::/32"}},
		{Name: "balancer", CIDRs: []v1alpha1.CIDR{v1alpha1.CIDR(c.pickOne("192.0.2.1/32", "192.0.2.2/32"))}},
	}}
	for _, name := range components {
		if !c.happensIn(45) {
			continue
		}
		component := v1alpha1.Component{Name: name, Pods: &v1alpha1.PodSelector{Namespace: c.namespaceName(c.pickOne("a", "b")), Selector: c.selectorOf("app", c.pickOne(components...))}}
		if c.happensIn(75) {
			component.Ports = []v1alpha1.Port{{Protocol: v1alpha1.Protocol(c.pickOne("TCP", "UDP")), Port: int32(c.random.IntN(3) + 2379)}}
			component.AllowFrom = []v1alpha1.PeerReference{c.randomPeer()}
		}
		if c.happensIn(35) || component.AllowFrom == nil {
			to := c.randomPeer()
			component.AllowTo = []v1alpha1.Destination{{Role: to.Role, Peer: to.Peer}}
		}
		network.Components = append(network.Components, component)
	}
	if network.Components == nil {
		return nil
	}
	return network
}

func (c *corner) randomPeer() v1alpha1.PeerReference {
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
