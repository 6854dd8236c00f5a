// SPDX-License-Identifier: Apache-2.0

package calico

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"github.com/projectcalico/api/pkg/lib/numorstring"
)

// What Calico's API takes of each from v3.33 on (api/pkg/apis/projectcalico/v3,
// policy_common.go and globalnetworkpolicy.go). Selectors may have 1024 characters;
// the longest here has some 350.
const (
	maxRules = 1024 // of a policy, in one direction
	maxNets  = 256  // of one side of a rule
	maxPorts = 50   // of one side of a rule
)

// selfRulesOfPolicy is how many rules about nodes' own addresses share a policy. It is
// half of what a policy may have: on the way from some nodes to others a policy has
// the rules of both.
const selfRulesOfPolicy = maxRules / 2

// selfPolicies returns the policies that allow each node what it sends to itself: one,
// unless there are very many nodes. As with sets, a node's rules stay in their policy
// when others join.
func selfPolicies(hosts Hosts) []*v3.GlobalNetworkPolicy {
	for shards := 1; ; shards *= 2 {
		parts := selfRules(hosts, shards)
		tooMany := func(rules []v3.Rule) bool { return len(rules) > selfRulesOfPolicy }
		if slices.ContainsFunc(parts, tooMany) && shards < len(hosts.Nodes) {
			continue
		}
		var out []*v3.GlobalNetworkPolicy
		for i, rules := range parts {
			if len(rules) > 0 {
				out = append(out, globalPolicy(hosts, numberedPart("self", i), selfOrder, ours(hosts.Policy), rules))
			}
		}
		return out
	}
}

// numberedPart returns the name of one of several policies that are one, but for the
// limits. The number comes where no name of a component can have it.
func numberedPart(name string, i int) string {
	if i == 0 {
		return name
	}
	kind, of, named := strings.Cut(name, "-")
	if !named {
		return fmt.Sprintf("%s%d", kind, i+1)
	}
	return fmt.Sprintf("%s%d-%s", kind, i+1, of)
}

// groups splits networks by address family, since a rule is for one of them, and into
// as many as a rule may have. They are sorted, and none is there twice, which the API
// would refuse.
func groups(prefixes []netip.Prefix) [][]netip.Prefix {
	sorted := slices.Clone(prefixes)
	slices.SortFunc(sorted, netip.Prefix.Compare)
	sorted = slices.Compact(sorted)
	var out [][]netip.Prefix
	for _, v4 := range []bool{true, false} {
		family := slices.DeleteFunc(slices.Clone(sorted), func(p netip.Prefix) bool { return p.Addr().Is4() != v4 })
		for part := range slices.Chunk(family, maxNets) {
			out = append(out, part)
		}
	}
	return out
}

func prefixesOf(addresses []netip.Addr) []netip.Prefix {
	prefixes := make([]netip.Prefix, 0, len(addresses))
	for _, address := range addresses {
		prefixes = append(prefixes, netip.PrefixFrom(address, address.BitLen()))
	}
	return prefixes
}

// portLists splits ports into as many as a rule may have; no port stands for every
// one.
func portLists(ports []numorstring.Port) [][]numorstring.Port {
	if len(ports) == 0 {
		return [][]numorstring.Port{nil}
	}
	return slices.Collect(slices.Chunk(ports, maxPorts))
}

// withinLimits splits rules into as many as a policy may have. They all allow, or all
// deny, so that their order does not matter.
func withinLimits(rules []v3.Rule) [][]v3.Rule {
	return slices.Collect(slices.Chunk(rules, maxRules))
}
