// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"github.com/projectcalico/api/pkg/lib/numorstring"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/dataplane"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/network"
)

// random makes policy sets and flows from a small vocabulary, so that policies and flows
// meet.
type random struct {
	*rand.Rand
	backend  calico.Backend
	machines map[string]*network.Machine
}

// The nodes, and the ports of the flows: a port in the middle of ranges, failsafe ports for
// both directions, and ports of no rule.
var (
	nodeNames = []string{"cp-1", "cp-2", "worker-1"}
	someNames = append([]string{calico.Outsider}, nodeNames...)
	ports     = []uint16{1001, 1002, 1003, 1004, 2379, 22}
	udpPorts  = []uint16{1001, 1002, 1003, 53}
)

func pickOne[T any](r *random, from ...T) T { return from[r.IntN(len(from))] }

func (r *random) happensIn(percent int) bool { return r.IntN(100) < percent }

// pickSome picks at least one value.
func pickSome[T any](r *random, from ...T) []T {
	var out []T
	for _, i := range r.Perm(len(from))[:1+r.IntN(min(3, len(from)))] {
		out = append(out, from[i])
	}
	return out
}

// policySetObjects returns the objects of a policy set in the order of writes.
func (r *random) policySetObjects() []client.Object {
	var out []client.Object
	for _, name := range []string{"x", "y", "z"} {
		out = append(out, &v3.GlobalNetworkSet{
			ObjectMeta: metav1.ObjectMeta{Name: "set-" + name, Labels: map[string]string{"set": name}},
			Spec:       v3.GlobalNetworkSetSpec{Nets: textsOf(append(r.randomNets(4), r.randomNets(6)...))},
		})
	}
	tiers := []string{"early", "middle", "default"}
	for i, name := range tiers[:2] {
		out = append(out, &v3.Tier{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec:       v3.TierSpec{Order: ptr.To(float64(100 * (i + 1))), DefaultAction: ptr.To(pickOne(r, v3.Pass, v3.Pass, v3.Deny))},
		})
	}
	for _, node := range nodeNames {
		out = append(out, r.nodeEndpoints(node)...)
	}
	for i := range 8 {
		out = append(out, r.randomPolicy(fmt.Sprintf("%s.p%d", pickOne(r, tiers...), i)))
	}
	return out
}

func (r *random) nodeEndpoints(node string) []client.Object {
	var out []client.Object
	m := r.machines[node]
	for i, iface := range pickOne(r, []string{"*"}, []string{"*"}, []string{"*", "eth1"}, []string{"eth0"}, []string{"*", "*"}, []string{"", "*"}, []string{"", "eth1"}) {
		labels := map[string]string{"random": "", "node": node, "zone": pickOne(r, "n", "s")}
		if node != "worker-1" {
			labels["role"] = "cp"
		}
		if r.happensIn(30) {
			delete(labels, "zone")
		}
		e := &v3.HostEndpoint{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%s%d", node, pickOne(r, "a", "b", "c"), i), Labels: labels},
			Spec:       v3.HostEndpointSpec{Node: node, InterfaceName: iface, Profiles: []string{"projectcalico-default-allow"}},
		}
		if r.happensIn(20) {
			e.Spec.Profiles = nil
		}
		if iface == "" || r.happensIn(70) {
			e.Spec.ExpectedIPs = textsOf(pickSome(r, m.Cluster.IPv4, m.Cluster.IPv6, m.Dedicated.IPv4))
		}
		out = append(out, e)
	}
	return out
}

func textsOf[T fmt.Stringer](list []T) []string {
	var out []string
	for _, item := range list {
		out = append(out, item.String())
	}
	return out
}

func (r *random) randomPolicy(name string) *v3.GlobalNetworkPolicy {
	p := &v3.GlobalNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v3.GlobalNetworkPolicySpec{
		Selector: pickOne(r, "has(random)", "has(random)", "role == 'cp'", "node == 'cp-1'", "has(random) && !has(zone)",
			"zone in {'n', 'm'}", "has(random) && zone not in {'n'}", "node starts with 'cp' || zone == 's'", "has(random) && role != 'cp'"),
		Types: pickOne(r, []v3.PolicyType{"Ingress"}, []v3.PolicyType{"Ingress"}, []v3.PolicyType{"Ingress"}, []v3.PolicyType{"Ingress", "Egress"}, []v3.PolicyType{"Egress"}),
	}}
	for _, tier := range []string{"early", "middle", "default"} {
		if len(name) > len(tier) && name[:len(tier)] == tier {
			p.Spec.Tier = tier
		}
	}
	if r.happensIn(80) {
		p.Spec.Order = ptr.To(float64(r.IntN(4)))
	}
	special := r.IntN(100)
	for _, direction := range p.Spec.Types {
		for range 1 + r.IntN(4) {
			if direction == v3.PolicyTypeIngress {
				p.Spec.Ingress = append(p.Spec.Ingress, r.randomRule())
			} else {
				p.Spec.Egress = append(p.Spec.Egress, r.randomRule())
			}
		}
	}
	switch {
	case special < 15 && len(p.Spec.Egress) == 0:
		p.Spec.PreDNAT, p.Spec.ApplyOnForward = true, true
	case special < 20 && len(p.Spec.Egress) == 0:
		p.Spec.DoNotTrack, p.Spec.ApplyOnForward = true, true
		for i := range p.Spec.Ingress { // untracked traffic must not bypass the sentinel
			p.Spec.Ingress[i] = v3.Rule{Action: p.Spec.Ingress[i].Action, Protocol: ptr.To(numorstring.ProtocolFromString("TCP"))}
			p.Spec.Ingress[i].Destination.Ports = []numorstring.Port{numorstring.SinglePort(pickOne(r, ports...))}
		}
	case special < 30:
		p.Spec.ApplyOnForward = true
	}
	return p
}

func (r *random) randomRule() v3.Rule {
	rule := v3.Rule{Action: pickOne(r, v3.Allow, v3.Allow, v3.Allow, v3.Deny, v3.Deny, v3.Deny, v3.Pass, v3.Pass, v3.Log)}
	switch n := r.IntN(100); {
	case n < 45:
		name := pickOne(r, "TCP", "TCP", "UDP")
		rule.Protocol = ptr.To(numorstring.ProtocolFromString(name))
		if r.happensIn(70) {
			rule.Destination.Ports = r.randomPorts()
		}
		if r.happensIn(20) {
			rule.Destination.NotPorts = r.randomPorts()
		}
		if r.happensIn(5) {
			rule.Source.NotPorts = []numorstring.Port{numorstring.SinglePort(9)}
		}
	case n < 55:
		r.addICMP(&rule)
	case n < 60:
		rule.Protocol = ptr.To(numorstring.ProtocolFromInt(pickOne[uint8](r, 6, 17, 1, 58)))
	case n < 70:
		rule.NotProtocol = ptr.To(numorstring.ProtocolFromString(pickOne(r, "TCP", "UDP", "SCTP")))
	}
	if r.happensIn(10) && rule.Protocol == nil {
		rule.IPVersion = ptr.To(pickOne(r, 4, 6))
	}
	version := r.ipVersion(rule)
	r.fillEntity(&rule.Source, version)
	if r.happensIn(25) {
		r.fillEntity(&rule.Destination, version)
	}
	return rule
}

// ipVersion returns the IP version of a rule's networks: all networks of a rule must have
// the IP version of the rule.
func (r *random) ipVersion(rule v3.Rule) int {
	switch {
	case rule.IPVersion != nil:
		return *rule.IPVersion
	case rule.Protocol != nil && rule.Protocol.StrVal == "ICMP":
		return 4
	case rule.Protocol != nil && rule.Protocol.StrVal == "ICMPv6":
		return 6
	}
	return pickOne(r, 4, 6)
}

func (r *random) addICMP(rule *v3.Rule) {
	echo := map[string]int{"ICMP": 8, "ICMPv6": 128}
	name := pickOne(r, "ICMP", "ICMPv6")
	rule.Protocol = ptr.To(numorstring.ProtocolFromString(name))
	fields := &v3.ICMPFields{Type: ptr.To(pickOne(r, echo[name], 3))}
	if r.backend != calico.NFTables && r.happensIn(30) {
		fields.Code = ptr.To(r.IntN(2))
	}
	switch n := r.IntN(10); {
	case n < 4:
		rule.ICMP = fields
	case n < 7:
		rule.NotICMP = fields
	}
}

func (r *random) randomPorts() []numorstring.Port {
	var out []numorstring.Port
	for range 1 + r.IntN(2) {
		if r.happensIn(40) {
			first := 1000 + uint16(r.IntN(4))
			out = append(out, numorstring.Port{MinPort: first, MaxPort: first + uint16(r.IntN(3))})
			continue
		}
		out = append(out, numorstring.SinglePort(pickOne(r, ports...)))
	}
	return out
}

func (r *random) fillEntity(e *v3.EntityRule, version int) {
	switch n := r.IntN(100); {
	case n < 25:
		e.Nets = textsOf(r.randomNets(version))
	case n < 50:
		e.Selector = r.randomSelector()
	}
	if r.happensIn(12) {
		for _, net := range r.randomNets(version) {
			if net.Bits() > 0 { // Calico's API refuses a network that contains all addresses
				e.NotNets = append(e.NotNets, net.String())
			}
		}
	}
	if r.happensIn(12) {
		e.NotSelector = r.randomSelector()
	}
	if r.happensIn(5) {
		e.NamespaceSelector = pickOne(r, "global()", "all()")
	}
}

func (r *random) randomSelector() string {
	return pickOne(r, "role == 'cp'", "set == 'x'", "has(set)", "all()", "node == 'worker-1' || set == 'y'", "!has(zone)",
		"set in {'x', 'z'}", "zone == 'n'", "has(nothing)", "has(random) && node != 'cp-2'")
}

func (r *random) randomNets(version int) []netip.Prefix {
	var all []netip.Prefix
	for _, name := range someNames {
		for _, a := range []netip.Addr{r.machines[name].Cluster.IPv4, r.machines[name].Cluster.IPv6, r.machines[name].Dedicated.IPv4} {
			all = append(all, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	for _, wide := range []string{"10.77.0.0/24", "10.77.0.12/31", "10.78.0.0/24", "fd77::/64", "fd77::c/127", "0.0.0.0/0", "::/0", "127.0.0.0/8", "::1/128"} {
		all = append(all, netip.MustParsePrefix(wide))
	}
	all = slices.DeleteFunc(all, func(p netip.Prefix) bool { return p.Addr().Is4() != (version == 4) })
	return pickSome(r, all...)
}

// randomFailsafes returns the failsafe ports of one node.
func (r *random) randomFailsafes() *v3.FelixConfiguration {
	list := []v3.ProtoPort{}
	for range r.IntN(4) {
		list = append(list, v3.ProtoPort{
			Protocol: pickOne(r, "tcp", "udp"), Port: pickOne[uint16](r, 1001, 1002, 2379),
			Net: pickOne(r, "", "10.77.0.0/24", "fd77::/64", "10.77.0.12/32"),
		})
	}
	spec := v3.FelixConfigurationSpec{FailsafeInboundHostPorts: &list}
	if r.happensIn(50) {
		spec.FailsafeOutboundHostPorts = &list
	}
	return &v3.FelixConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "node.cp-1"}, Spec: spec}
}

// trial is a flow with the machine that sends the flow.
type trial struct {
	from *network.Machine
	flow dataplane.Flow
}

func (r *random) randomTrial() trial {
	to := pickOne(r, nodeNames...)
	from := pickOne(r, someNames...)
	sender, receiver := r.machines[from], r.machines[to]
	t := trial{from: sender}
	pairs := [][2]netip.Addr{{sender.Cluster.IPv4, receiver.Cluster.IPv4}, {sender.Cluster.IPv6, receiver.Cluster.IPv6}}
	t.flow.Interface = "eth0"
	switch n := r.IntN(100); {
	case n < 20:
		pairs = [][2]netip.Addr{{sender.Dedicated.IPv4, receiver.Dedicated.IPv4}, {sender.Dedicated.IPv6, receiver.Dedicated.IPv6}}
		t.flow.Interface = "eth1"
	case n < 25:
		loopback4, loopback6 := netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()
		pairs = [][2]netip.Addr{{loopback4, loopback4}, {loopback6, loopback6}}
		t.from, t.flow.Node = receiver, to
	}
	t.flow.LeavesBy = t.flow.Interface
	pair := pickOne(r, pairs...)
	t.flow.From, t.flow.To = pair[0], pair[1]
	switch n := r.IntN(10); {
	case n < 6:
		t.flow.Protocol, t.flow.Port = dataplane.TCP, pickOne(r, ports...)
	case n < 8:
		t.flow.Protocol, t.flow.Port = dataplane.UDP, pickOne(r, udpPorts...)
	case t.flow.To.Is4():
		t.flow.Protocol, t.flow.Type = dataplane.ICMP, 8
	default:
		t.flow.Protocol, t.flow.Type = dataplane.ICMPv6, 128
	}
	return t
}
