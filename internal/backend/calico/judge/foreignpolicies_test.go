// SPDX-License-Identifier: Apache-2.0

package judge_test

import (
	"slices"
	"strings"
	"testing"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"github.com/projectcalico/api/pkg/lib/numorstring"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/verify"
)

// tier returns a tier with the default action Pass.
func tier(name string, order float64, edits ...func(*v3.Tier)) v3.Tier {
	pass := v3.Pass
	t := v3.Tier{ObjectMeta: named(name), Spec: v3.TierSpec{Order: &order, DefaultAction: &pass}}
	for _, edit := range edits {
		edit(&t)
	}
	return t
}

func last(t *v3.Tier)      { t.Spec.Order = nil }
func byDefault(t *v3.Tier) { t.Spec.DefaultAction = nil }

type edit func(*v3.GlobalNetworkPolicy)

// policyIn returns a policy with one rule for all incoming traffic.
func policyIn(tier string, action v3.Action, edits ...edit) v3.GlobalNetworkPolicy {
	p := v3.GlobalNetworkPolicy{ObjectMeta: named(tier + ".theirs"), Spec: v3.GlobalNetworkPolicySpec{Tier: tier, Ingress: []v3.Rule{{Action: action}}}}
	for _, edit := range edits {
		edit(&p)
	}
	return p
}

func protocol(name string) edit {
	return func(p *v3.GlobalNetworkPolicy) {
		protocol := numorstring.ProtocolFromString(name)
		p.Spec.Ingress[0].Protocol = &protocol
	}
}

func ports(ports ...string) edit {
	return func(p *v3.GlobalNetworkPolicy) {
		protocol("TCP")(p)
		for _, text := range ports {
			port, err := numorstring.PortFromString(text)
			if err != nil {
				panic(err)
			}
			p.Spec.Ingress[0].Destination.Ports = append(p.Spec.Ingress[0].Destination.Ports, port)
		}
	}
}

func rule(change func(*v3.Rule)) edit {
	return func(p *v3.GlobalNetworkPolicy) { change(&p.Spec.Ingress[0]) }
}

func sources(nets ...string) edit    { return rule(func(r *v3.Rule) { r.Source.Nets = nets }) }
func notSources(nets ...string) edit { return rule(func(r *v3.Rule) { r.Source.NotNets = nets }) }
func destinations(n ...string) edit  { return rule(func(r *v3.Rule) { r.Destination.Nets = n }) }
func selecting(selector string) edit {
	return func(p *v3.GlobalNetworkPolicy) { p.Spec.Selector = selector }
}
func order(order float64) edit             { return func(p *v3.GlobalNetworkPolicy) { p.Spec.Order = &order } }
func doNotTrack(p *v3.GlobalNetworkPolicy) { p.Spec.DoNotTrack = true }
func preDNAT(p *v3.GlobalNetworkPolicy)    { p.Spec.PreDNAT = true }
func first(r v3.Rule) edit {
	return func(p *v3.GlobalNetworkPolicy) { p.Spec.Ingress = append([]v3.Rule{r}, p.Spec.Ingress...) }
}

func number(n uint8) *numorstring.Protocol { p := numorstring.ProtocolFromInt(n); return &p }

func TestForeignPoliciesThatDecideBeforeManagedOnes(t *testing.T) {
	found := func(what string) verify.Verdict {
		sure := slices.ContainsFunc([]string{" allows ", " denies ", " passes on ", " drops "}, func(does string) bool { return strings.Contains(what, does) })
		return verify.Verdict{
			Unknown: !sure, Reason: v1alpha1.ReasonForeignPolicy,
			Message: "Foreign policies decide before the operator's policies: " + what + ": exclude these hosts from " +
				"the selectors of these policies with !has(cpnp.dev/policy), or move these policies to a tier after cpnp",
		}
	}
	does := func(what string) verify.Verdict {
		return found("GlobalNetworkPolicy early.theirs (tier early) " + what)
	}
	const kubeletTraffic = "traffic to component kubelet"
	early := func(policies ...v3.GlobalNetworkPolicy) situation {
		return situation{hosts: kubelet(), there: calico.Live{Tiers: []v3.Tier{tier("early", 100)}, Policies: policies}}
	}
	with := func(hosts backend.Hosts, tiers []v3.Tier, policies ...v3.GlobalNetworkPolicy) situation {
		return situation{hosts: hosts, there: calico.Live{Tiers: tiers, Policies: policies}}
	}
	tiers := func(tiers ...v3.Tier) []v3.Tier { return tiers }
	type cases map[string]struct {
		situation
		want verify.Verdict
	}
	groups := map[string]cases{
		"Order": {
			"A tier before the operator's":     {early(policyIn("early", v3.Allow)), does("allows " + kubeletTraffic)},
			"A tier after the operator's":      {with(kubelet(), tiers(tier("late", 501)), policyIn("late", v3.Allow)), effective},
			"A tier without order is the last": {with(kubelet(), tiers(tier("a", 0, last)), policyIn("a", v3.Allow)), effective},
			"Of tiers of one order, the alphabetically first comes first": {
				with(kubelet(), tiers(tier("a", 500), tier("d", 500)), policyIn("a", v3.Allow), policyIn("d", v3.Allow)),
				found("GlobalNetworkPolicy a.theirs (tier a) allows " + kubeletTraffic),
			},
			"A tier that does not exist": {with(kubelet(), nil, policyIn("early", v3.Allow)), effective},
			"The default tier":           {with(kubelet(), tiers(tier("default", 1e6)), policyIn("default", v3.Allow), policyIn("default", v3.Allow, func(p *v3.GlobalNetworkPolicy) { p.Spec.Tier = "" })), effective},
			"The default tier, moved":    {with(kubelet(), tiers(tier("default", 1)), policyIn("default", v3.Allow, func(p *v3.GlobalNetworkPolicy) { p.Spec.Tier = "" })), found("GlobalNetworkPolicy default.theirs (tier default) allows " + kubeletTraffic)},
			"The operator's tier, moved by others": {
				situation{hosts: kubelet(), live: func(c *calico.Live) { c.Tiers[0].Spec.Order = nil }, there: calico.Live{
					Tiers: tiers(tier("late", 501)), Policies: []v3.GlobalNetworkPolicy{policyIn("late", v3.Allow)},
				}},
				found("GlobalNetworkPolicy late.theirs (tier late) allows " + kubeletTraffic),
			},
			"There is no finding while the operator's tier does not exist": {
				situation{hosts: kubelet(), live: func(c *calico.Live) { c.Tiers = nil }, there: early(policyIn("early", v3.Allow)).there}, effective,
			},
			"Allow in the operator's tier before the managed denial": {with(kubelet(), nil, policyIn("cpnp", v3.Allow, order(999))), found("GlobalNetworkPolicy cpnp.theirs (tier cpnp) allows " + kubeletTraffic)},
			"Allow in the operator's tier after the managed denial":  {with(kubelet(), nil, policyIn("cpnp", v3.Allow, order(1001))), effective},
			"Allow in the operator's tier without order":             {with(kubelet(), nil, policyIn("cpnp", v3.Allow)), effective},
			"Of policies of one order, the name decides": {
				with(kubelet(), nil, policyIn("cpnp", v3.Allow, order(1000)), policyIn("cpnp", v3.Allow, order(1000), func(p *v3.GlobalNetworkPolicy) { p.Name = "cpnp.a" })),
				found("GlobalNetworkPolicy cpnp.a (tier cpnp) allows " + kubeletTraffic),
			},
			"Deny in the operator's tier before the managed allow":   {with(kubelet(), nil, policyIn("cpnp", v3.Deny, order(99))), found("GlobalNetworkPolicy cpnp.theirs (tier cpnp) denies " + kubeletTraffic)},
			"Deny in the operator's tier after the managed allow":    {with(kubelet(), nil, policyIn("cpnp", v3.Deny, order(101))), effective},
			"Pass in the operator's tier before the managed denial":  {with(kubelet(), nil, policyIn("cpnp", v3.Pass, order(101))), found("GlobalNetworkPolicy cpnp.theirs (tier cpnp) passes on " + kubeletTraffic)},
			"Pass in the operator's tier for peers that may connect": {with(kubelet(), nil, policyIn("cpnp", v3.Pass, order(1), sources("10.77.0.0/25"))), effective},
			"A managed policy that is to be deleted": {
				with(kubelet(), nil, policyIn("cpnp", v3.Allow, order(1), func(p *v3.GlobalNetworkPolicy) {
					p.Labels = map[string]string{v1alpha1.LabelPolicy: "p"}
					p.Annotations = map[string]string{v1alpha1.AnnotationDesiredHash: "x"}
				})), effective,
			},
			"A policy with the operator's marks in a foreign tier": {
				early(policyIn("early", v3.Allow, order(1), func(p *v3.GlobalNetworkPolicy) {
					p.Labels = map[string]string{v1alpha1.LabelPolicy: "p"}
					p.Annotations = map[string]string{v1alpha1.AnnotationDesiredHash: "x"}
				})), does("allows " + kubeletTraffic),
			},
			"A policy with only the operator's label": {
				with(kubelet(), nil, policyIn("cpnp", v3.Allow, order(1), func(p *v3.GlobalNetworkPolicy) { p.Labels = map[string]string{v1alpha1.LabelPolicy: "p"} })),
				found("GlobalNetworkPolicy cpnp.theirs (tier cpnp) allows " + kubeletTraffic),
			},
			"A policy before that passes all traffic on": {
				early(policyIn("early", v3.Pass, order(1), func(p *v3.GlobalNetworkPolicy) { p.Name = "early.z" }), policyIn("early", v3.Allow, order(2))), effective,
			},
			"A policy before that passes other traffic on": {
				early(policyIn("early", v3.Pass, order(1), ports("22")), policyIn("early", v3.Allow, order(2))), does("allows " + kubeletTraffic),
			},
			"A policy before that passes a part of the traffic on": {
				early(policyIn("early", v3.Pass, order(1), sources("10.0.0.0/8")), policyIn("early", v3.Allow, order(2))), does("allows " + kubeletTraffic),
			},
			"A policy before that may pass traffic on": {
				early(policyIn("early", v3.Pass, order(1), rule(func(r *v3.Rule) { r.Source.Selector = "a == 'b'" })), policyIn("early", v3.Allow, order(2))),
				does("allows " + kubeletTraffic),
			},
			"A policy before that passes some of the ports on": {
				early(policyIn("early", v3.Pass, order(1), rule(func(r *v3.Rule) {
					r.Source.Ports = []numorstring.Port{numorstring.SinglePort(53)}
					r.Protocol = number(6)
				})), policyIn("early", v3.Allow, order(2))),
				does("allows " + kubeletTraffic),
			},
			"A policy before that passes traffic to one of the nodes on": {
				early(policyIn("early", v3.Pass, order(1), destinations("10.77.0.12/32")), policyIn("early", v3.Allow, order(2))), does("allows " + kubeletTraffic),
			},
			"A policy before that passes one of the component's ports on": {
				with(kubelet(etcd, scope, func(h *backend.Hosts) { h.Components = h.Components[1:] }), tiers(tier("early", 100)),
					policyIn("early", v3.Pass, order(1), ports("2379")), policyIn("early", v3.Allow, order(2))),
				does("allows traffic to component etcd"),
			},
			"The operator's tier with the default action Deny is reported by Programmed": {
				situation{hosts: kubelet(), live: func(c *calico.Live) { c.Tiers[0].Spec.DefaultAction = nil }, there: calico.Live{
					Policies: []v3.GlobalNetworkPolicy{policyIn("cpnp", v3.Log, order(1))},
				}},
				effective,
			},
			"A policy that only logs does not decide": {
				early(policyIn("early", v3.Log, order(1)), policyIn("early", v3.Allow, order(2))), does("allows " + kubeletTraffic),
			},
		},
		"Selection": {
			"Another selector":             {early(policyIn("early", v3.Allow, selecting("has(role)"))), effective},
			"The operator's label":         {early(policyIn("early", v3.Allow, selecting("has(cpnp.dev/policy)"))), does("allows " + kubeletTraffic)},
			"Without the operator's label": {early(policyIn("early", v3.Allow, selecting("!has(cpnp.dev/policy)"))), effective},
			"The label of another policy":  {early(policyIn("early", v3.Allow, selecting("cpnp.dev/policy == 'q'"))), effective},
			"A foreign label on a managed endpoint": {
				situation{hosts: kubelet(), live: func(c *calico.Live) { c.Endpoints[1].Labels["role"] = "x" }, there: early(policyIn("early", v3.Allow, selecting("has(role)"))).there},
				does("allows " + kubeletTraffic),
			},
			"A managed endpoint without the operator's label": {
				situation{hosts: kubelet(), live: func(c *calico.Live) { c.Endpoints[0].Labels, c.Endpoints[1].Labels = nil, nil }, there: early(policyIn("early", v3.Allow, selecting("has(cpnp.dev/policy)"))).there},
				does("allows " + kubeletTraffic),
			},
			"Namespaces are not hosts":       {early(policyIn("early", v3.Allow, func(p *v3.GlobalNetworkPolicy) { p.Spec.NamespaceSelector = "all()" })), effective},
			"Service accounts are not hosts": {early(policyIn("early", v3.Allow, func(p *v3.GlobalNetworkPolicy) { p.Spec.ServiceAccountSelector = "a == 'b'" })), effective},
			"With a namespace selector, all() is all namespaces": {
				early(policyIn("early", v3.Allow, selecting("all()"), func(p *v3.GlobalNetworkPolicy) { p.Spec.NamespaceSelector = "!has(a)" })), effective,
			},
			"Hosts are among the objects without a namespace": {
				early(policyIn("early", v3.Allow, func(p *v3.GlobalNetworkPolicy) { p.Spec.NamespaceSelector = "!has(a)" })), does("allows " + kubeletTraffic),
			},
			"Egress only":       {early(policyIn("early", v3.Allow, func(p *v3.GlobalNetworkPolicy) { p.Spec.Types = []v3.PolicyType{v3.PolicyTypeEgress} })), effective},
			"Egress by default": {early(policyIn("early", v3.Allow, func(p *v3.GlobalNetworkPolicy) { p.Spec.Egress, p.Spec.Ingress = p.Spec.Ingress, nil })), effective},
			"A selector that cannot be read": {
				early(policyIn("early", v3.Allow, selecting("a ~ 'b'"))),
				does("has a selector that cannot be read, so that the policy may select these hosts"),
			},
			"A selector in a tier after the operator's does not matter": {with(kubelet(), tiers(tier("late", 501)), policyIn("late", v3.Allow, selecting("?"))), effective},
		},
		"Traffic": {
			"The component's port":                       {early(policyIn("early", v3.Allow, ports("10250"))), does("allows " + kubeletTraffic)},
			"A range with the port":                      {early(policyIn("early", v3.Allow, ports("1:20000"))), does("allows " + kubeletTraffic)},
			"Other ports":                                {early(policyIn("early", v3.Allow, ports("22", "10251:10260"))), effective},
			"The component's protocol, as a number":      {early(policyIn("early", v3.Allow, rule(func(r *v3.Rule) { r.Protocol = number(6) }))), does("allows " + kubeletTraffic)},
			"Another protocol":                           {early(policyIn("early", v3.Allow, protocol("UDP"))), effective},
			"A protocol without ports":                   {early(policyIn("early", v3.Allow, protocol("ICMP")), policyIn("early", v3.Allow, protocol("UDPLite")), policyIn("early", v3.Allow, rule(func(r *v3.Rule) { r.Protocol = number(4) }))), effective},
			"All but the component's protocol":           {early(policyIn("early", v3.Allow, rule(func(r *v3.Rule) { r.NotProtocol = number(6) }))), effective},
			"All but another protocol":                   {early(policyIn("early", v3.Allow, rule(func(r *v3.Rule) { r.NotProtocol = number(17) }))), does("allows " + kubeletTraffic)},
			"All but the component's port":               {early(policyIn("early", v3.Allow, protocol("TCP"), rule(func(r *v3.Rule) { r.Destination.NotPorts = []numorstring.Port{numorstring.SinglePort(10250)} }))), effective},
			"All but another port":                       {early(policyIn("early", v3.Allow, protocol("TCP"), rule(func(r *v3.Rule) { r.Destination.NotPorts = []numorstring.Port{numorstring.SinglePort(1)} }))), does("allows " + kubeletTraffic)},
			"A named port, which may be the component's": {early(policyIn("early", v3.Allow, ports("kubelet"))), does("may allow " + kubeletTraffic)},
			"From a port":                                {early(policyIn("early", v3.Allow, protocol("TCP"), rule(func(r *v3.Rule) { r.Source.Ports = []numorstring.Port{numorstring.SinglePort(53)} }))), does("allows " + kubeletTraffic)},
			"Peers that may connect anyway":              {early(policyIn("early", v3.Allow, sources("10.77.0.0/25", "10.77.0.200/32", "127.0.0.0/8"))), effective},
			"More peers than may connect":                {early(policyIn("early", v3.Allow, sources("10.77.0.0/23"))), does("allows " + kubeletTraffic)},
			"More peers, except the additional ones":     {early(policyIn("early", v3.Allow, sources("10.77.0.0/23"), notSources("10.77.1.0/24"))), effective},
			"IPv6 from everywhere":                       {early(policyIn("early", v3.Allow, rule(func(r *v3.Rule) { six := 6; r.IPVersion = &six }))), does("allows " + kubeletTraffic)},
			"IPv6 from nowhere":                          {early(policyIn("early", v3.Allow, sources("10.0.0.0/8"), rule(func(r *v3.Rule) { six := 6; r.IPVersion = &six }))), effective},
			"Sources that cannot be judged": {
				early(policyIn("early", v3.Allow, rule(func(r *v3.Rule) { r.Source.Selector = "has(bastion)" }))), does("may allow " + kubeletTraffic),
			},
			"Sources that cannot be judged, within peers that may connect anyway": {
				early(policyIn("early", v3.Allow, sources("10.77.0.0/25"), rule(func(r *v3.Rule) { r.Source.Selector = "has(bastion)" }))), effective,
			},
			"HTTP":                                 {early(policyIn("early", v3.Allow, rule(func(r *v3.Rule) { r.HTTP = &v3.HTTPMatch{} }))), does("may allow " + kubeletTraffic)},
			"To a node":                            {early(policyIn("early", v3.Allow, destinations("10.77.0.12/32"))), does("allows " + kubeletTraffic)},
			"To addresses that may include a node": {early(policyIn("early", v3.Allow, destinations("10.96.0.0/12"))), does("may allow " + kubeletTraffic)},
			"Deny for peers that may not connect":  {early(policyIn("early", v3.Deny, sources("10.78.0.0/24"))), effective},
			"Deny for all other peers":             {early(policyIn("early", v3.Deny, notSources("10.77.0.0/24", "127.0.0.0/8", "::1/128"))), effective},
			"Deny for some peers that may connect": {early(policyIn("early", v3.Deny, sources("10.77.0.128/25"))), does("denies " + kubeletTraffic)},
			"Deny that cannot be judged":           {early(policyIn("early", v3.Deny, rule(func(r *v3.Rule) { r.Source.NotSelector = "has(a)" }))), does("may deny " + kubeletTraffic)},
			"Deny for all, after an exception that cannot be judged": {
				early(policyIn("early", v3.Deny, first(v3.Rule{Action: v3.Allow, Source: v3.EntityRule{Selector: "has(a)"}}))),
				found("GlobalNetworkPolicy early.theirs (tier early) denies " + kubeletTraffic + ", GlobalNetworkPolicy early.theirs (tier early) may allow " + kubeletTraffic),
			},
			"A rule after a decision on all traffic": {
				early(policyIn("early", v3.Deny, first(v3.Rule{Action: v3.Allow}))), does("allows " + kubeletTraffic),
			},
			"Allow to a component that everybody may reach": {
				with(kubelet(func(h *backend.Hosts) { h.Components[0].From = []backend.Source{{}} }), tiers(tier("early", 100)), policyIn("early", v3.Allow)), effective,
			},
			"Deny to a component that everybody may reach": {
				with(kubelet(func(h *backend.Hosts) { h.Components[0].From = []backend.Source{{}} }), tiers(tier("early", 100)), policyIn("early", v3.Deny, sources("192.0.2.0/24"))),
				does("denies " + kubeletTraffic),
			},
			"Allow for peers of a required flow": {
				with(kubelet(func(h *backend.Hosts) {
					h.Required = []backend.Flow{{Name: "f", From: []backend.Source{{Prefixes: prefixes("10.99.0.0/24")}}, Traffic: traffic("tcp/10250")}}
				}), tiers(tier("early", 100)), policyIn("early", v3.Allow, sources("10.99.0.0/24"))),
				effective,
			},
			"A rule that may match, after one that matches": {
				early(policyIn("early", v3.Allow, rule(func(r *v3.Rule) { r.Source.Selector = "has(a)" }), first(v3.Rule{Action: v3.Allow, Source: v3.EntityRule{Nets: []string{"192.0.2.0/24"}}}))),
				does("allows " + kubeletTraffic),
			},
			"Several components": {
				with(kubelet(etcd, scope), tiers(tier("early", 100)), policyIn("early", v3.Allow)), does("allows " + kubeletTraffic + ", traffic to component etcd"),
			},
		},
		"Tiers that drop": {
			"A tier with a policy for hosts": {
				with(kubelet(), tiers(tier("early", 100, byDefault)), policyIn("early", v3.Allow, ports("22"))),
				found("tier early (early.theirs selects these hosts, and the tier's default action is Deny) drops " + kubeletTraffic),
			},
			"A tier with policies for others": {with(kubelet(), tiers(tier("early", 100, byDefault)), policyIn("early", v3.Allow, selecting("has(role)"))), effective},
			"A tier with a policy for outgoing traffic": {
				with(kubelet(), tiers(tier("early", 100, byDefault)), policyIn("early", v3.Allow, func(p *v3.GlobalNetworkPolicy) { p.Spec.Egress, p.Spec.Ingress = p.Spec.Ingress, nil })), effective,
			},
			"A tier that passes all traffic on": {with(kubelet(), tiers(tier("early", 100, byDefault)), policyIn("early", v3.Pass)), effective},
			"A tier after the operator's":       {with(kubelet(), tiers(tier("late", 1000, byDefault)), policyIn("late", v3.Allow, ports("22"))), effective},
			"A tier with only policies before DNAT": {
				with(kubelet(), tiers(tier("early", 100, byDefault)), policyIn("early", v3.Allow, ports("22"), preDNAT)), effective,
			},
		},
		"Before all tiers": {
			"Before DNAT, whatever the tier": {
				with(kubelet(), tiers(tier("late", 1e6)), policyIn("late", v3.Allow, preDNAT)),
				found("GlobalNetworkPolicy late.theirs (preDNAT) allows " + kubeletTraffic),
			},
			"Before DNAT, in the operator's tier, whatever the order": {
				with(kubelet(), nil, policyIn("cpnp", v3.Deny, preDNAT, order(1e6))),
				found("GlobalNetworkPolicy cpnp.theirs (preDNAT) denies " + kubeletTraffic),
			},
			"Untracked, on every interface, has no effect": {with(kubelet(), tiers(tier("late", 1e6)), policyIn("late", v3.Allow, doNotTrack)), effective},
			"Untracked, on an interface": {
				with(kubelet(onInterface("eth1", "10.78.0.0/24")), tiers(tier("late", 1e6)), policyIn("late", v3.Allow, doNotTrack)),
				found("GlobalNetworkPolicy late.theirs (doNotTrack) allows " + kubeletTraffic),
			},
		},
		"Interfaces and addresses": {
			"On the component's interface every address is restricted": {
				with(kubelet(onInterface("eth1", "10.78.0.0/24")), tiers(tier("early", 100)), policyIn("early", v3.Allow, destinations("10.77.0.0/24"))),
				does("allows " + kubeletTraffic),
			},
			"On other interfaces only the component's address is restricted": {
				with(kubelet(onInterface("eth1", "10.78.0.0/24")), tiers(tier("early", 100)),
					policyIn("early", v3.Allow, destinations("10.77.0.0/24"), selecting("!has(cpnp.dev/interface)"))),
				effective,
			},
			"The component's address": {
				with(kubelet(onInterface("eth1", "10.78.0.0/24")), tiers(tier("early", 100)), policyIn("early", v3.Allow, destinations("10.78.0.11/32"))),
				does("allows " + kubeletTraffic),
			},
			"The endpoint for every interface is on the way to the address": {
				with(kubelet(onInterface("eth1", "10.78.0.0/24")), tiers(tier("early", 100)), policyIn("early", v3.Allow, selecting("!has(cpnp.dev/interface)"))),
				does("allows " + kubeletTraffic),
			},
			"Without an address, the endpoint for every interface is not on the way": {
				with(kubelet(etcd, scope, func(h *backend.Hosts) { h.Components[0].Interface = "eth1" }), tiers(tier("early", 100)),
					policyIn("early", v3.Allow, ports("10250"), selecting("!has(cpnp.dev/interface)"))),
				detour,
			},
		},
		"Everything that is not listed": {
			"Allow for unlisted flows": {
				with(kubelet(denyUnlisted), tiers(tier("early", 100)), policyIn("early", v3.Allow, ports("9100"))), does("allows traffic that is not listed"),
			},
			"Allow for a component's port is a finding on the component": {
				with(kubelet(denyUnlisted), tiers(tier("early", 100)), policyIn("early", v3.Allow, ports("10250"))), does("allows " + kubeletTraffic),
			},
			"Allow for listed flows": {
				with(kubelet(denyUnlisted, listed), tiers(tier("early", 100)), policyIn("early", v3.Allow, ports("9100:9101"), sources("10.99.0.0/25"))), effective,
			},
			"Allow for more than listed flows": {
				with(kubelet(denyUnlisted, listed), tiers(tier("early", 100)), policyIn("early", v3.Allow, ports("9100:9102"), sources("10.99.0.0/25"))),
				does("allows traffic that is not listed"),
			},
			"Deny for listed flows": {
				with(kubelet(denyUnlisted, listed), tiers(tier("early", 100)), policyIn("early", v3.Deny, ports("9101:9102"), sources("10.99.0.0/25"))),
				does("denies traffic that is listed"),
			},
			"Deny for unlisted flows": {
				with(kubelet(denyUnlisted, listed), tiers(tier("early", 100)), policyIn("early", v3.Deny, ports("9102"), sources("10.99.0.0/25"))), effective,
			},
			"Without unlisted: Deny, other ports are free": {early(policyIn("early", v3.Allow, ports("9100"))), effective},
		},
	}
	for group, cases := range groups {
		t.Run(group, func(t *testing.T) { check(t, cases) })
	}
}

// listed lets 10.99.0.0/24 connect to ports of no component.
func listed(h *backend.Hosts) {
	h.Listed = append(h.Listed, backend.Flow{Name: "exporter", From: []backend.Source{{Prefixes: prefixes("10.99.0.0/24")}}, Traffic: traffic("tcp/9100-9101")})
}
