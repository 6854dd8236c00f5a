// SPDX-License-Identifier: Apache-2.0

package calico

import (
	"fmt"
	"hash/fnv"
	"maps"
	"net/netip"
	"slices"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/internal/backend"
)

// nodesPerShard is about how many nodes share a network set: few enough to rewrite only a
// few kilobytes for a joining node.
const nodesPerShard = 64

func newTier() *v3.Tier {
	order, pass := float64(tierOrder), v3.Pass
	return &v3.Tier{
		TypeMeta:   metav1.TypeMeta{APIVersion: v3.GroupVersionCurrent, Kind: v3.KindTier},
		ObjectMeta: metav1.ObjectMeta{Name: TierName},
		Spec:       v3.TierSpec{Order: &order, DefaultAction: &pass},
	}
}

// networkSets returns the sets, each in as many objects as the size of the set calls
// for.
func networkSets(hosts backend.Hosts) []*v3.GlobalNetworkSet {
	var objects []*v3.GlobalNetworkSet
	for _, set := range hosts.Sets {
		shards := shardCount(len(set.Members))
		nets := make([][]netip.Prefix, shards)
		for _, node := range slices.Sorted(maps.Keys(set.Members)) {
			shard := shardOf(node, shards)
			nets[shard] = append(nets[shard], set.Members[node]...)
		}
		for shard, prefixes := range nets {
			if len(prefixes) > 0 {
				objects = append(objects, newNetworkSet(hosts.Policy, set.Name, shard, prefixes))
			}
		}
	}
	return objects
}

func newNetworkSet(policy, name string, shard int, prefixes []netip.Prefix) *v3.GlobalNetworkSet {
	object := &v3.GlobalNetworkSet{
		TypeMeta:   metav1.TypeMeta{APIVersion: v3.GroupVersionCurrent, Kind: v3.KindGlobalNetworkSet},
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%d", SetName(policy, name), shard), Labels: policyLabels(policy)},
		Spec:       v3.GlobalNetworkSetSpec{Nets: networkTexts(prefixes)},
	}
	object.Labels[LabelPeer] = name
	return object
}

// shardCount returns a power of two, so that a growing cluster seldom moves nodes
// between shards.
func shardCount(nodes int) int {
	shards := 1
	for shards*nodesPerShard < nodes {
		shards *= 2
	}
	return shards
}

func shardOf(node string, shards int) int {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(node)) // never fails
	return int(hash.Sum32() % uint32(shards))
}

// networkTexts returns the networks as text, sorted, without duplicates.
func networkTexts(prefixes []netip.Prefix) []string {
	sorted := slices.Clone(prefixes)
	slices.SortFunc(sorted, netip.Prefix.Compare)
	sorted = slices.Compact(sorted)
	out := make([]string, 0, len(sorted))
	for _, prefix := range sorted {
		out = append(out, prefix.String())
	}
	return out
}
