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

	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
)

// renderPolicies returns the policies: first all allowing policies, then all denying
// policies.
func renderPolicies(hosts backend.Hosts) []*v3.GlobalNetworkPolicy {
	return append(selfPolicies(hosts), versionedPolicies(hosts, hosts.Version)...)
}

// rulesVersion returns the version of the rules: a hash of the rules, without the parts
// that follow the cluster. A joining or leaving node does not change the version, because
// only the members of a set and the nodes' own addresses change. The version also says
// whether failsafe ports are scoped, because failsafe ports too are scoped on a single node
// at a time.
func rulesVersion(hosts backend.Hosts) string {
	specs := []any{hosts.ScopeFailsafes}
	for _, policy := range versionedPolicies(hosts, "") {
		specs = append(specs, policy.Name, policy.Spec)
	}
	text, err := json.Marshal(specs)
	if err != nil {
		panic(fmt.Sprintf("what is rendered can always be written as JSON: %v", err))
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:4])
}

// versionedPolicies returns the policies for the nodes with one version of the ruleset.
// A policy without rules is left out.
func versionedPolicies(hosts backend.Hosts, version string) []*v3.GlobalNetworkPolicy {
	var out []*v3.GlobalNetworkPolicy
	all := rulesetSelector(version, hosts.Policy)
	add := func(name string, order float64, selector, iface string, rules []v3.Rule) {
		for i, part := range chunkRules(rules) {
			policy := newGlobalPolicy(hosts, numberedPart(name, i)+"-"+version, order, interfaceSelector(selector, iface), part)
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
		add("deny-unlisted", denyOrder, enforcedSelector(all), "", []v3.Rule{{Action: v3.Deny}})
		return out
	}
	for _, c := range hosts.Components {
		if c.Interface == "" {
			add("deny-"+c.Name, denyOrder, enforcedSelector(all), "", denyRules(c, c.Address))
			continue
		}
		// Two policies deny: one on the component's interface, to any address; and, on
		// every endpoint, one to the component's addresses, because the addresses can
		// also be reached through another interface.
		add("deny-"+c.Name, denyOrder, enforcedSelector(all), c.Interface, denyRules(c, netip.Prefix{}))
		if c.Address.IsValid() {
			add("detour-"+c.Name, denyOrder, enforcedSelector(all), "", denyRules(c, c.Address))
		}
	}
	return out
}

// loopRules allow traffic from a node to its own address on the component's interface:
// such traffic arrives through loopback and not through the interface.
func loopRules(component backend.Component) []v3.Rule {
	rules := destinationRules(component, component.Address)
	for i := range rules {
		rules[i].Action, rules[i].Source.Nets = v3.Allow, []string{component.Address.String()}
	}
	return rules
}

// EndpointInterfaceFor returns the interface, "" for every interface, for which nodes with
// the policy's version need an endpoint, and whether an endpoint is needed: a policy that
// allows on every interface needs no endpoint.
func EndpointInterfaceFor(policy *v3.GlobalNetworkPolicy) (iface string, needed bool) {
	iface = policy.Labels[LabelInterface]
	return iface, iface != "" || IsDenyPolicy(policy)
}

// IsDenyPolicy says whether the policy denies.
func IsDenyPolicy(policy *v3.GlobalNetworkPolicy) bool {
	return policy.Spec.Order == nil || *policy.Spec.Order >= denyOrder
}

func newGlobalPolicy(hosts backend.Hosts, name string, order float64, selector string, rules []v3.Rule) *v3.GlobalNetworkPolicy {
	return &v3.GlobalNetworkPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: v3.GroupVersionCurrent, Kind: v3.KindGlobalNetworkPolicy},
		ObjectMeta: metav1.ObjectMeta{Name: PolicyName(hosts.Policy, name), Labels: policyLabels(hosts.Policy)},
		Spec: v3.GlobalNetworkPolicySpec{
			Tier: TierName, Order: &order, Selector: selector,
			Types: []v3.PolicyType{v3.PolicyTypeIngress}, Ingress: rules,
		},
	}
}

// selfRules returns rules for loopback, and for traffic from a node to its own
// addresses, because an endpoint for every interface also applies to such traffic.
// There is a list for each shard; the first list also has the rules for no particular
// node.
func selfRules(hosts backend.Hosts, shards int) [][]v3.Rule {
	parts := make([][]v3.Rule, shards)
	for _, loopback := range []string{"127.0.0.0/8", "::1/128"} {
		parts[0] = append(parts[0], v3.Rule{Action: v3.Allow, Source: v3.EntityRule{Nets: []string{loopback}}})
	}
	allow := func(shard int, addresses []netip.Addr) {
		own := groupNetworks(prefixesOf(addresses))
		for _, from := range own {
			for _, to := range own {
				if from[0].Addr().Is4() == to[0].Addr().Is4() {
					parts[shard] = append(parts[shard], v3.Rule{
						Action: v3.Allow, Source: v3.EntityRule{Nets: networkTexts(from)}, Destination: v3.EntityRule{Nets: networkTexts(to)},
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

func allowRules(hosts backend.Hosts, component backend.Component) []v3.Rule {
	to := component.Address
	if component.Interface != "" {
		to = netip.Prefix{} // all traffic that arrives there is meant for the component, of either address family
	}
	var rules []v3.Rule
	for _, destination := range destinationRules(component, to) {
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

func denyRules(component backend.Component, to netip.Prefix) []v3.Rule {
	rules := destinationRules(component, to)
	for i := range rules {
		rules[i].Action = v3.Deny
	}
	return rules
}

// destinationRules returns one rule without an action for each protocol of the
// component's ports, to the given addresses if there are any.
func destinationRules(component backend.Component, to netip.Prefix) []v3.Rule {
	rules := trafficRules(component.Ports)
	for i := range rules {
		if to.IsValid() {
			rules[i].Destination.Nets = []string{to.String()}
		}
	}
	return rules
}

func flowRules(hosts backend.Hosts, flows []backend.Flow) []v3.Rule {
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

func flowDestinations(flow backend.Flow) []v3.Rule {
	var rules []v3.Rule
	for _, rule := range trafficRules(flow.Traffic) {
		rule.Metadata = &v3.RuleMetadata{Annotations: map[string]string{"flow": flow.Name}}
		if len(flow.Destinations) == 0 {
			rules = append(rules, rule)
			continue
		}
		for _, nets := range groupNetworks(flow.Destinations) {
			rule.Destination.Nets = networkTexts(nets)
			rules = append(rules, rule)
		}
	}
	return rules
}

// trafficRules returns rules that match the traffic: a rule for each protocol with
// ports, or several rules if a single rule cannot have all ports, and a rule for each
// other item.
func trafficRules(traffic []profile.Traffic) []v3.Rule {
	var rules []v3.Rule
	for _, protocol := range []profile.Protocol{profile.TCP, profile.UDP, profile.SCTP} {
		if ports, found := portsOf(traffic, protocol); found {
			for _, list := range chunkPorts(ports) {
				rules = append(rules, v3.Rule{Protocol: protocolByName(protocol), Destination: v3.EntityRule{Ports: list}})
			}
		}
	}
	for _, t := range traffic {
		switch t.Protocol {
		case profile.TCP, profile.UDP, profile.SCTP:
		case profile.ICMP, profile.ICMPv6:
			rules = append(rules, v3.Rule{Protocol: protocolByName(t.Protocol), ICMP: icmpOf(t)})
		case profile.IP:
			number := numorstring.ProtocolFromInt(t.Number)
			rules = append(rules, v3.Rule{Protocol: &number})
		default:
			rules = append(rules, v3.Rule{})
		}
	}
	return rules
}

// portsOf returns the ports of a protocol, and whether the traffic has the protocol at
// all. No ports stand for every port.
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

// icmpOf leaves out the code, so all traffic of the type is let through. A rule with a code
// stops every Felix with nftables: v3.31 writes "icmp type 3 code 4", nft does not
// understand the line, and Felix gives up.
func icmpOf(t profile.Traffic) *v3.ICMPFields {
	number := int(t.Number)
	return &v3.ICMPFields{Type: &number}
}

func protocolByName(name profile.Protocol) *numorstring.Protocol {
	protocol := numorstring.ProtocolFromString(string(name))
	return &protocol
}

// sourceRules returns the source as rules match sources, one entry for each group of
// networks. A source with neither a set nor networks is every sender.
func sourceRules(policy string, source backend.Source) []v3.EntityRule {
	if source.Set != "" {
		return []v3.EntityRule{{Selector: setSelector(policy, source.Set)}}
	}
	if len(source.Prefixes) == 0 {
		return []v3.EntityRule{{}}
	}
	var rules []v3.EntityRule
	for _, nets := range groupNetworks(source.Prefixes) {
		rules = append(rules, v3.EntityRule{Nets: networkTexts(nets)})
	}
	return rules
}
