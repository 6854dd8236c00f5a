// SPDX-License-Identifier: Apache-2.0

package dataplane_test

import (
	"net/netip"
	"strings"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"github.com/projectcalico/api/pkg/lib/numorstring"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/dataplane"
)

// The nodes of the tests: A and B are in the cluster, C is outside.
const (
	a4, a6, aDedicated = "10.0.0.1", "fd00::1", "10.1.0.1"
	b4, b6             = "10.0.0.2", "fd00::2"
	c4, c6             = "10.9.0.9", "fd09::9"
	pod4               = "10.200.1.5"
)

// object is any object of a world.
type object any

// world returns a world of the nodes a and b, with the objects.
func world(objects ...object) *dataplane.World {
	var there calico.Live
	nodes := []dataplane.Node{
		{Name: "a", Addresses: []netip.Addr{addr(a4), addr(a6)}, Interfaces: map[string][]netip.Addr{
			"eth0": {addr(a4), addr(a6)}, "eth1": {addr(aDedicated)},
		}},
		{Name: "b", Addresses: []netip.Addr{addr(b4), addr(b6)}},
	}
	for _, o := range objects {
		switch o := o.(type) {
		case v3.Tier:
			there.Tiers = append(there.Tiers, o)
		case v3.GlobalNetworkPolicy:
			there.Policies = append(there.Policies, o)
		case v3.GlobalNetworkSet:
			there.Sets = append(there.Sets, o)
		case v3.HostEndpoint:
			there.Endpoints = append(there.Endpoints, o)
		case v3.FelixConfiguration:
			there.Felix = append(there.Felix, o)
		case v3.IPPool:
			there.Pools = append(there.Pools, o)
		}
	}
	return dataplane.NewWorld(there, nodes)
}

func addr(text string) netip.Addr { return netip.MustParseAddr(text) }

func tier(name string, order float64, action v3.Action) v3.Tier {
	return v3.Tier{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v3.TierSpec{Order: &order, DefaultAction: &action}}
}

var (
	defaultTier = v3.Tier{ObjectMeta: metav1.ObjectMeta{Name: "default"}, Spec: v3.TierSpec{Order: ptr.To(1e6)}}
	passing     = tier("passing", 10, v3.Pass)
	denying     = tier("denying", 20, v3.Deny)
)

// endpoint returns an endpoint of node b if the name begins with b, and of node a otherwise.
func endpoint(name, iface string, options ...func(*v3.HostEndpoint)) v3.HostEndpoint {
	node := "a"
	if strings.HasPrefix(name, "b") {
		node = "b"
	}
	e := v3.HostEndpoint{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"host": node, "endpoint": name}},
		Spec:       v3.HostEndpointSpec{Node: node, InterfaceName: iface, Profiles: []string{"projectcalico-default-allow"}},
	}
	for _, option := range options {
		option(&e)
	}
	return e
}

func expecting(addresses ...string) func(*v3.HostEndpoint) {
	return func(e *v3.HostEndpoint) { e.Spec.ExpectedIPs = addresses }
}

func profiles(names ...string) func(*v3.HostEndpoint) {
	return func(e *v3.HostEndpoint) { e.Spec.Profiles = names }
}

// policy returns an ingress policy in the tier with which the name begins. The options include the rules.
func policy(name string, order float64, options ...any) v3.GlobalNetworkPolicy {
	in, _, found := strings.Cut(name, ".")
	if !found {
		in = "default"
	}
	p := v3.GlobalNetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v3.GlobalNetworkPolicySpec{
			Tier: in, Order: &order, Selector: "has(host)", Types: []v3.PolicyType{v3.PolicyTypeIngress},
		},
	}
	for _, option := range options {
		switch o := option.(type) {
		case v3.Rule:
			p.Spec.Ingress = append(p.Spec.Ingress, o)
		case func(*v3.GlobalNetworkPolicySpec):
			o(&p.Spec)
		}
	}
	return p
}

func outward(s *v3.GlobalNetworkPolicySpec) {
	s.Types, s.Egress, s.Ingress = []v3.PolicyType{v3.PolicyTypeEgress}, s.Ingress, nil
}

func preDNAT(s *v3.GlobalNetworkPolicySpec)    { s.PreDNAT, s.ApplyOnForward = true, true }
func doNotTrack(s *v3.GlobalNetworkPolicySpec) { s.DoNotTrack, s.ApplyOnForward = true, true }
func noOrder(s *v3.GlobalNetworkPolicySpec)    { s.Order = nil }

func selecting(selector string) func(*v3.GlobalNetworkPolicySpec) {
	return func(s *v3.GlobalNetworkPolicySpec) { s.Selector = selector }
}

func rule(action v3.Action, options ...func(*v3.Rule)) v3.Rule {
	r := v3.Rule{Action: action}
	for _, option := range options {
		option(&r)
	}
	return r
}

func protocol(name string, ports ...uint16) func(*v3.Rule) {
	return func(r *v3.Rule) {
		r.Protocol = ptr.To(numorstring.ProtocolFromString(name))
		for _, p := range ports {
			r.Destination.Ports = append(r.Destination.Ports, numorstring.SinglePort(p))
		}
	}
}

func icmpType(number int) func(*v3.Rule) {
	return func(r *v3.Rule) { r.ICMP = &v3.ICMPFields{Type: &number} }
}

func icmpCode(code int) func(*v3.Rule) { return func(r *v3.Rule) { r.ICMP.Code = &code } }

func from(nets ...string) func(*v3.Rule)    { return func(r *v3.Rule) { r.Source.Nets = nets } }
func notFrom(nets ...string) func(*v3.Rule) { return func(r *v3.Rule) { r.Source.NotNets = nets } }
func to(nets ...string) func(*v3.Rule)      { return func(r *v3.Rule) { r.Destination.Nets = nets } }
func source(selector string) func(*v3.Rule) { return func(r *v3.Rule) { r.Source.Selector = selector } }
func notSource(selector string) func(*v3.Rule) {
	return func(r *v3.Rule) { r.Source.NotSelector = selector }
}
func inside(selector string) func(*v3.Rule) {
	return func(r *v3.Rule) { r.Source.NamespaceSelector = selector }
}

func set(name string, nets ...string) v3.GlobalNetworkSet {
	return v3.GlobalNetworkSet{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"set": name}},
		Spec:       v3.GlobalNetworkSetSpec{Nets: nets},
	}
}

func felix(name string, change func(*v3.FelixConfigurationSpec)) v3.FelixConfiguration {
	f := v3.FelixConfiguration{ObjectMeta: metav1.ObjectMeta{Name: name}}
	change(&f.Spec)
	return f
}

// tcp is a flow to node a by eth0.
func tcp(from, to string, port uint16) dataplane.Flow {
	return dataplane.Flow{From: addr(from), To: addr(to), Interface: "eth0", Protocol: dataplane.TCP, Port: port}
}

func ping(from, to string) dataplane.Flow {
	f := dataplane.Flow{From: addr(from), To: addr(to), Interface: "eth0", Protocol: dataplane.ICMP, Type: 8}
	if f.To.Is6() {
		f.Protocol, f.Type = dataplane.ICMPv6, 128
	}
	return f
}

func by(iface string, f dataplane.Flow) dataplane.Flow {
	f.Interface = iface
	return f
}
