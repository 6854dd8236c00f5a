// SPDX-License-Identifier: Apache-2.0

package calico

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"github.com/projectcalico/api/pkg/lib/numorstring"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/internal/profile"
)

// policies returns the policies: first all that allow, then those that deny.
func policies(hosts Hosts) []*v3.GlobalNetworkPolicy {
	return append(selfPolicies(hosts), versioned(hosts, Version(hosts))...)
}

// Version returns the version of the rules: a hash of what does not follow the
// cluster. A node that joins or leaves does not change it, since that only
// changes who is in a set, and which addresses are a node's own. Whether failsafe
// ports are narrowed belongs to it: that too is done to one node at a time.
func Version(hosts Hosts) string {
	specs := []any{hosts.ScopeFailsafes}
	for _, policy := range versioned(hosts, "") {
		specs = append(specs, policy.Name, policy.Spec)
	}
	text, err := json.Marshal(specs)
	if err != nil {
		panic(fmt.Sprintf("what is rendered can always be written as JSON: %v", err))
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:4])
}

// versioned returns the policies that are for the nodes with one version of the
// rules. There is none of what has no rules.
func versioned(hosts Hosts, version string) []*v3.GlobalNetworkPolicy {
	var out []*v3.GlobalNetworkPolicy
	all := having(version, hosts.Policy)
	add := func(name string, order float64, selector, iface string, rules []v3.Rule) {
		for i, part := range withinLimits(rules) {
			policy := globalPolicy(hosts, numberedPart(name, i)+"-"+version, order, onInterface(selector, iface), part)
			policy.Labels[LabelVersion] = version
			if iface != "" {
				policy.Labels[LabelInterface] = iface
			}
			out = append(out, policy)
		}
	}
	add("required", requiredOrder, all, "", flowRules(hosts, hosts.Required))
	for _, c := range hosts.Components {
		add("allow-"+c.Name, allowOrder, all, c.Interface, allowRules(hosts, c))
		if c.Interface != "" && c.Address.IsValid() {
			add("loop-"+c.Name, allowOrder, fmt.Sprintf("%s && !has(%s)", all, LabelInterface), "", loopRules(c))
		}
	}
	if hosts.DenyUnlisted {
		add("listed", listedOrder, all, "", flowRules(hosts, hosts.Listed))
		add("deny-unlisted", denyOrder, enforced(all), "", []v3.Rule{{Action: v3.Deny}})
		return out
	}
	for _, c := range hosts.Components {
		if c.Interface == "" {
			add("deny-"+c.Name, denyOrder, enforced(all), "", denyRules(c, c.Address))
			continue
		}
		// On its interface, to whatever address; and on every endpoint, to its
		// addresses: that is for whoever takes the detour to an interface's address
		// through another one.
		add("deny-"+c.Name, denyOrder, enforced(all), c.Interface, denyRules(c, netip.Prefix{}))
		if c.Address.IsValid() {
			add("detour-"+c.Name, denyOrder, enforced(all), "", denyRules(c, c.Address))
		}
	}
	return out
}

// loopRules allow what a node sends to its own address on the component's
// interface: it does not come in there, but through loopback.
func loopRules(component Component) []v3.Rule {
	rules := destinations(component, component.Address)
	for i := range rules {
		rules[i].Action, rules[i].Source.Nets = v3.Allow, []string{component.Address.String()}
	}
	return rules
}

// InterfaceOf returns the interface, "" for every one, that nodes with a policy of a
// version need an endpoint for, if it needs one: what allows on every interface does
// not.
func InterfaceOf(policy *v3.GlobalNetworkPolicy) (iface string, needed bool) {
	iface = policy.Labels[LabelInterface]
	return iface, iface != "" || Denies(policy)
}

// Denies says whether the policy is one that denies.
func Denies(policy *v3.GlobalNetworkPolicy) bool {
	return policy.Spec.Order == nil || *policy.Spec.Order >= denyOrder
}

func globalPolicy(hosts Hosts, name string, order float64, selector string, rules []v3.Rule) *v3.GlobalNetworkPolicy {
	return &v3.GlobalNetworkPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: v3.GroupVersionCurrent, Kind: v3.KindGlobalNetworkPolicy},
		ObjectMeta: metav1.ObjectMeta{Name: PolicyName(hosts.Policy, name), Labels: labels(hosts.Policy)},
		Spec: v3.GlobalNetworkPolicySpec{
			Tier: TierName, Order: &order, Selector: selector,
			Types: []v3.PolicyType{v3.PolicyTypeIngress}, Ingress: rules,
		},
	}
}

// selfRules allow loopback, and what a node sends to an address of its own: an
// endpoint for every interface polices these too. They are as many lists as there are
// shards; the first one has what is no node's.
func selfRules(hosts Hosts, shards int) [][]v3.Rule {
	parts := make([][]v3.Rule, shards)
	for _, loopback := range []string{"127.0.0.0/8", "::1/128"} {
		parts[0] = append(parts[0], v3.Rule{Action: v3.Allow, Source: v3.EntityRule{Nets: []string{loopback}}})
	}
	allow := func(shard int, addresses []netip.Addr) {
		own := groups(prefixesOf(addresses))
		for _, from := range own {
			for _, to := range own {
				if from[0].Addr().Is4() == to[0].Addr().Is4() {
					parts[shard] = append(parts[shard], v3.Rule{
						Action: v3.Allow, Source: v3.EntityRule{Nets: texts(from)}, Destination: v3.EntityRule{Nets: texts(to)},
					})
				}
			}
		}
	}
	for _, node := range hosts.Nodes {
		shard := shardOf(node.Name, shards)
		allow(shard, node.Addresses)
		allow(shard, node.Shared)
	}
	for _, server := range hosts.Servers {
		allow(0, []netip.Addr{server})
	}
	return parts
}

func allowRules(hosts Hosts, component Component) []v3.Rule {
	to := component.Address
	if component.Interface != "" {
		to = netip.Prefix{} // what comes in there is meant for the component, of either family
	}
	var rules []v3.Rule
	for _, destination := range destinations(component, to) {
		for _, source := range component.From {
			for _, entity := range sourceRules(hosts.Policy, source) {
				rule := destination
				rule.Action, rule.Source = v3.Allow, entity
				rules = append(rules, rule)
			}
		}
	}
	return rules
}

func denyRules(component Component, to netip.Prefix) []v3.Rule {
	rules := destinations(component, to)
	for i := range rules {
		rules[i].Action = v3.Deny
	}
	return rules
}

// destinations returns one rule without an action for each protocol of the
// component's ports, to the addresses if there are any.
func destinations(component Component, to netip.Prefix) []v3.Rule {
	rules := trafficRules(component.Ports)
	for i := range rules {
		if to.IsValid() {
			rules[i].Destination.Nets = []string{to.String()}
		}
	}
	return rules
}

func flowRules(hosts Hosts, flows []Flow) []v3.Rule {
	var rules []v3.Rule
	for _, flow := range flows {
		for _, rule := range flowDestinations(flow) {
			for _, source := range flow.From {
				for _, entity := range sourceRules(hosts.Policy, source) {
					rule.Action, rule.Source = v3.Allow, entity
					rules = append(rules, rule)
				}
			}
		}
	}
	return rules
}

func flowDestinations(flow Flow) []v3.Rule {
	var rules []v3.Rule
	for _, rule := range trafficRules(flow.Traffic) {
		rule.Metadata = &v3.RuleMetadata{Annotations: map[string]string{"flow": flow.Name}}
		if len(flow.Destinations) == 0 {
			rules = append(rules, rule)
			continue
		}
		for _, nets := range groups(flow.Destinations) {
			rule.Destination.Nets = texts(nets)
			rules = append(rules, rule)
		}
	}
	return rules
}

// trafficRules returns rules that match the traffic: one for each protocol with
// ports, which is short, if these are not too many, and one for each of everything
// else.
func trafficRules(traffic []profile.Traffic) []v3.Rule {
	var rules []v3.Rule
	for _, protocol := range []profile.Protocol{profile.TCP, profile.UDP, profile.SCTP} {
		if ports, found := portsOf(traffic, protocol); found {
			for _, list := range portLists(ports) {
				rules = append(rules, v3.Rule{Protocol: protocolNamed(protocol), Destination: v3.EntityRule{Ports: list}})
			}
		}
	}
	for _, t := range traffic {
		switch t.Protocol {
		case profile.TCP, profile.UDP, profile.SCTP:
		case profile.ICMP, profile.ICMPv6:
			rules = append(rules, v3.Rule{Protocol: protocolNamed(t.Protocol), ICMP: icmpOf(t)})
		case profile.IP:
			number := numorstring.ProtocolFromInt(t.Number)
			rules = append(rules, v3.Rule{Protocol: &number})
		default:
			rules = append(rules, v3.Rule{})
		}
	}
	return rules
}

// portsOf returns the ports of a protocol, none if it is every port, and
// whether the protocol is there at all.
func portsOf(traffic []profile.Traffic, protocol profile.Protocol) (ports []numorstring.Port, found bool) {
	for _, t := range traffic {
		if t.Protocol != protocol {
			continue
		}
		if t.First == 0 && t.Last == 0 {
			return nil, true
		}
		found = true
		ports = append(ports, numorstring.Port{MinPort: t.First, MaxPort: max(t.First, t.Last)})
	}
	return ports, found
}

// icmpOf leaves the code out: a rule with one ends every Felix that writes
// nftables (v3.31 writes "icmp type 3 code 4", which nft does not understand, and
// gives up). What is let through is then all of the type.
func icmpOf(t profile.Traffic) *v3.ICMPFields {
	number := int(t.Number)
	return &v3.ICMPFields{Type: &number}
}

func protocolNamed(name profile.Protocol) *numorstring.Protocol {
	protocol := numorstring.ProtocolFromString(string(name))
	return &protocol
}

// sourceRules returns the source as rules match it, one for each group of networks;
// one that is neither a set nor networks is anybody.
func sourceRules(policy string, source Source) []v3.EntityRule {
	if source.Set != "" {
		return []v3.EntityRule{{Selector: members(policy, source.Set)}}
	}
	if len(source.Prefixes) == 0 {
		return []v3.EntityRule{{}}
	}
	var rules []v3.EntityRule
	for _, nets := range groups(source.Prefixes) {
		rules = append(rules, v3.EntityRule{Nets: texts(nets)})
	}
	return rules
}
