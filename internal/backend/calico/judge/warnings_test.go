// SPDX-License-Identifier: Apache-2.0

package judge_test

import (
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"github.com/projectcalico/api/pkg/lib/numorstring"

	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/judge"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
)

// optional are optional flows, in both directions.
func optional() []profile.Flow {
	cp, anybody := []profile.Role{profile.RoleControlPlane}, []profile.Role{profile.RoleAny}
	return []profile.Flow{
		{Name: "metadata-out", From: cp, To: profile.RoleAny, Destinations: prefixes("169.254.169.254/32", "fd00:ec2::254/128"), Traffic: traffic("tcp/80")},
		{Name: "https-out", From: cp, To: profile.RoleAny, Traffic: traffic("tcp/443")},
		{Name: "ntp-out", From: cp, To: profile.RoleAny, Traffic: traffic("udp/123")},
		{Name: "to-pods", From: cp, To: profile.RolePods, Traffic: traffic("tcp/8443")},
		{Name: "ingress", From: anybody, To: profile.RoleNodes, Traffic: traffic("tcp/8080")},
		{Name: "kubelet-metrics", From: []profile.Role{profile.RoleNodes}, To: profile.RoleNodes, Traffic: traffic("tcp/10250")},
		{Name: "health", From: []profile.Role{profile.RoleNodes}, To: profile.RoleNodes, Traffic: traffic("tcp/4240")},
		{Name: "monitor", From: []profile.Role{profile.RolePrometheus}, To: profile.RoleNodes, Traffic: traffic("tcp/9100")},
	}
}

// others returns a foreign policy, after the managed policies unless its tier says otherwise.
func others(name, selector string, types []v3.PolicyType, rules ...v3.Rule) v3.GlobalNetworkPolicy {
	p := v3.GlobalNetworkPolicy{ObjectMeta: named(name), Spec: v3.GlobalNetworkPolicySpec{
		Tier: strings.Split(name, ".")[0], Selector: selector, Types: types,
	}}
	if types[0] == v3.PolicyTypeEgress {
		p.Spec.Egress = rules
	} else {
		p.Spec.Ingress = rules
	}
	return p
}

func TestOptionalFlowsThatAnEndpointExposesToForeignPoliciesAreReported(t *testing.T) {
	out, in := []v3.PolicyType{v3.PolicyTypeEgress}, []v3.PolicyType{v3.PolicyTypeIngress}
	to := func(action v3.Action, nets ...string) v3.Rule {
		return v3.Rule{Action: action, Destination: v3.EntityRule{Nets: nets}}
	}
	from := func(action v3.Action, nets ...string) v3.Rule {
		return v3.Rule{Action: action, Source: v3.EntityRule{Nets: nets}}
	}
	allow := v3.Rule{Action: v3.Allow}
	late, strict := tier("default", 1e6), tier("strict", 2e6, func(t *v3.Tier) { t.Spec.DefaultAction = nil })
	worker := endpoint("worker", "worker-1", "*")
	worker.Spec.Profiles = []string{"projectcalico-default-allow"}

	for name, test := range map[string]struct {
		policies  []v3.GlobalNetworkPolicy
		endpoints []v3.HostEndpoint
		want, not []string
	}{
		"there are no foreign policies": {},
		"the metadata service is denied to all": {
			policies: []v3.GlobalNetworkPolicy{others("default.deny-metadata", "all()", out, to(v3.Deny, "169.254.169.254/32"), allow)},
			want: []string{"metadata-out would be denied by rule 1 of GlobalNetworkPolicy default.deny-metadata (tier default) " +
				"(such as tcp/80 from 10.77.0.11 to 169.254.169.254)", "!has(cpnp.dev/policy)"},
			not: []string{"https-out", "ntp-out", "to-pods"},
		},
		"the other one of the two addresses": {
			policies: []v3.GlobalNetworkPolicy{others("default.deny-metadata", "all()", out, to(v3.Deny, "fd00:ec2::/32"), allow)},
			want:     []string{"metadata-out would be denied", "from fd77::11 to fd00:ec2::254"},
		},
		"the foreign policy selects no hosts": {
			policies: []v3.GlobalNetworkPolicy{others("default.deny-metadata", "!has(cpnp.dev/policy)", out, to(v3.Deny, "169.254.169.254/32"), allow)},
		},
		"outgoing traffic to public addresses is denied": {
			policies: []v3.GlobalNetworkPolicy{others("default.private-only", "all()", out, to(v3.Allow, "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"), v3.Rule{Action: v3.Deny})},
			want:     []string{"metadata-out, https-out, ntp-out would be denied by rule 2 of GlobalNetworkPolicy default.private-only"},
			not:      []string{"to-pods", "ingress"},
		},
		"outgoing traffic to private addresses is denied": {
			policies: []v3.GlobalNetworkPolicy{others("default.no-private", "all()", out,
				to(v3.Allow, "10.77.0.0/24", "fd77::/64"), to(v3.Deny, "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"), allow)},
			want: []string{"https-out, ntp-out, to-pods would be denied by rule 2 of GlobalNetworkPolicy default.no-private"},
			not:  []string{"metadata-out"},
		},
		"the end of a foreign tier": {
			policies: []v3.GlobalNetworkPolicy{others("strict.dns-only", "all()", out, to(v3.Allow, "10.77.0.0/24", "fd77::/64"))},
			want:     []string{"would be denied by the end of tier strict, because GlobalNetworkPolicy strict.dns-only of the tier selects the hosts"},
		},
		"incoming traffic from any address is denied": {
			policies: []v3.GlobalNetworkPolicy{others("default.internal", "all()", in, from(v3.Allow, "10.0.0.0/8", "fc00::/7"), v3.Rule{Action: v3.Deny})},
			want:     []string{"ingress would be denied by rule 2 of GlobalNetworkPolicy default.internal"},
			not:      []string{"kubelet-metrics", "https-out"},
		},
		"a list of blocked addresses": {
			policies: []v3.GlobalNetworkPolicy{others("default.blocklist", "all()", in, from(v3.Deny, "203.0.113.0/24", "198.51.100.7/32"), allow)},
		},
		"an unknown sender causes no warning": {
			policies: []v3.GlobalNetworkPolicy{others("default.no-9100", "all()", in, v3.Rule{Action: v3.Deny, Protocol: tcpProtocol(), Destination: v3.EntityRule{Ports: portList("9100")}}, allow)},
		},
		"between nodes": {
			policies: []v3.GlobalNetworkPolicy{others("default.no-health", "all()", in, v3.Rule{Action: v3.Deny, Protocol: tcpProtocol(), Destination: v3.EntityRule{Ports: portList("4240")}}, allow)},
			want:     []string{"health would be denied by rule 1 of GlobalNetworkPolicy default.no-health"},
		},
		"an uncertain denial": {
			policies: []v3.GlobalNetworkPolicy{others("default.maybe", "all()", out, v3.Rule{Action: v3.Deny, Destination: v3.EntityRule{Services: &v3.ServiceMatch{Name: "a", Namespace: "b"}}}, allow)},
			want:     []string{"may be denied by rule 1 of GlobalNetworkPolicy default.maybe"},
		},
		"pods may be blocked": {
			policies: []v3.GlobalNetworkPolicy{others("default.blocklist", "all()", out, v3.Rule{Action: v3.Deny, Destination: v3.EntityRule{Selector: "feed == 'bad'"}}, allow)},
		},
		"the flow is denied without the operator too": {
			policies:  []v3.GlobalNetworkPolicy{others("default.deny-metadata", "all()", out, to(v3.Deny, "169.254.169.254/32"), allow)},
			endpoints: []v3.HostEndpoint{endpoint("a-1", "cp-1", "*"), endpoint("a-2", "cp-2", "*"), endpoint("a-3", "cp-3", "*")},
		},
		"the flow is denied on an unprotected node": {
			policies:  []v3.GlobalNetworkPolicy{others("default.deny-metadata", "role == 'worker'", out, v3.Rule{Action: v3.Deny})},
			endpoints: []v3.HostEndpoint{worker},
		},
	} {
		t.Run(name, func(t *testing.T) {
			g, hosts := NewWithT(t), guarded()
			writes := creation(t, hosts)
			planned := plan.Hosts{Declared: true, Whole: hosts, Now: hosts, RequiredFlows: requiredFlows(hosts)}
			planned.RequiredFlows.Optional = optional()
			planned.RequiredFlows.Parties[profile.RoleAny] = planned.RequiredFlows.Parties[profile.RoleNodes]
			for _, write := range writes {
				planned.WholeObjects = append(planned.WholeObjects, write.Object)
			}
			there := calico.Live{
				Tiers: []v3.Tier{late, strict}, Policies: test.policies, Endpoints: test.endpoints,
				Pools: []v3.IPPool{{Spec: v3.IPPoolSpec{CIDR: "10.200.0.0/16"}}},
			}
			got := judge.ForeignPolicyWarnings(planned, nodesOf(hosts), there, writes)
			if len(test.want) == 0 {
				g.Expect(got).To(BeEmpty())
				return
			}
			g.Expect(got).To(HaveLen(1))
			for _, want := range test.want {
				g.Expect(got[0]).To(ContainSubstring(want))
			}
			for _, not := range test.not {
				g.Expect(got[0]).NotTo(ContainSubstring(not))
			}

			t.Log("the warning stays after the last write")
			after := there
			for _, object := range planned.WholeObjects {
				after = containing(after, object)
			}
			g.Expect(judge.ForeignPolicyWarnings(planned, nodesOf(hosts), after, nil)).To(Equal(got))
		})
	}
}

// containing returns the live objects and one more object, as the operator writes the object.
func containing(there calico.Live, object plan.Object) calico.Live {
	switch o := object.(type) {
	case *v3.Tier:
		there.Tiers = append(there.Tiers, *o)
	case *v3.GlobalNetworkPolicy:
		there.Policies = append(there.Policies, *o)
	case *v3.GlobalNetworkSet:
		there.Sets = append(there.Sets, *o)
	case *v3.HostEndpoint:
		there.Endpoints = append(there.Endpoints, *o)
	case *v3.FelixConfiguration:
		there.Felix = append(there.Felix, *o)
	}
	return there
}

func TestThePolicysOwnRestrictionsAreNoWarning(t *testing.T) {
	g, hosts := NewWithT(t), guarded()
	writes := creation(t, hosts)
	planned := plan.Hosts{Declared: true, Whole: hosts, Now: hosts, RequiredFlows: requiredFlows(hosts)}
	planned.RequiredFlows.Optional = []profile.Flow{{Name: "etcd-metrics", From: []profile.Role{profile.RoleNodes}, To: profile.RoleControlPlane, Traffic: traffic("tcp/2379")}}
	for _, write := range writes {
		planned.WholeObjects = append(planned.WholeObjects, write.Object)
	}
	there := calico.Live{Tiers: []v3.Tier{tier("default", 1e6)}, Policies: []v3.GlobalNetworkPolicy{others("default.all", "all()", []v3.PolicyType{v3.PolicyTypeIngress}, v3.Rule{Action: v3.Allow})}}
	g.Expect(judge.ForeignPolicyWarnings(planned, nodesOf(hosts), there, writes)).To(BeEmpty())
}

func tcpProtocol() *numorstring.Protocol {
	p := numorstring.ProtocolFromString("TCP")
	return &p
}

func portList(text string) []numorstring.Port {
	port, err := numorstring.PortFromString(text)
	if err != nil {
		panic(err)
	}
	return []numorstring.Port{port}
}
