// SPDX-License-Identifier: Apache-2.0

package calico

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"github.com/projectcalico/api/pkg/lib/numorstring"

	"github.com/cpnp-dev/cpnp-operator/internal/backend"
)

// Limits of Calico's API from v3.33 on (api/pkg/apis/projectcalico/v3, policy_common.go
// and globalnetworkpolicy.go). A selector may have 1024 characters; the longest
// selector that is rendered has about 350.
const (
	maxRules = 1024 // rules of a policy, in one direction
	maxNets  = 256  // of one side of a rule
	maxPorts = 50   // of one side of a rule
)

// selfRulesOfPolicy is how many rules about nodes' own addresses share a policy: half
// of the rules that a policy may have, because a policy has the rules of both sets of
// nodes while the nodes change.
const selfRulesOfPolicy = maxRules / 2

// selfPolicies returns the policies that allow traffic from each node to itself: one
// policy, unless there are very many nodes. As with sets, the rules of a node stay in
// the same policy when other nodes join.
func selfPolicies(hosts backend.Hosts) []*v3.GlobalNetworkPolicy {
	for shards := 1; ; shards *= 2 {
		parts := selfRules(hosts, shards)
		tooMany := func(rules []v3.Rule) bool { return len(rules) > selfRulesOfPolicy }
		if slices.ContainsFunc(parts, tooMany) && shards < len(hosts.Nodes) {
			continue
		}
		var out []*v3.GlobalNetworkPolicy
		for i, rules := range parts {
			if len(rules) > 0 {
				out = append(out, newGlobalPolicy(hosts, numberedPart("self", i), selfOrder, managedSelector(hosts.Policy), rules))
			}
		}
		return out
	}
}

// numberedPart returns the name of one of several policies that would be a single policy
// without the limits. The name of a component cannot have a number at the place of the
// added number.
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

// groupNetworks splits networks by address family, since a rule is for one family, and
// then into groups of as many networks as a rule may have. The networks are sorted,
// without duplicates, which the API would refuse.
func groupNetworks(prefixes []netip.Prefix) [][]netip.Prefix {
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

// chunkPorts splits ports into lists of as many ports as a rule may have. An empty list
// stands for every port.
func chunkPorts(ports []numorstring.Port) [][]numorstring.Port {
	if len(ports) == 0 {
		return [][]numorstring.Port{nil}
	}
	return slices.Collect(slices.Chunk(ports, maxPorts))
}

// chunkRules splits rules into lists of as many rules as a policy may have. Either all
// rules allow or all rules deny, so that the order of the rules does not matter.
func chunkRules(rules []v3.Rule) [][]v3.Rule {
	return slices.Collect(slices.Chunk(rules, maxRules))
}
