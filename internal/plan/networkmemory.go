// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// NetworkMemory keeps the rendered NetworkPolicies of each policy, because most
// reconciliations have the same input: a repair changes neither the policy nor the nodes.
// The zero value is ready to use; a nil value remembers nothing.
type NetworkMemory struct {
	mu    sync.Mutex
	plans map[string]plannedNetwork
}

// plannedNetwork is a plan with all inputs of the plan.
type plannedNetwork struct {
	from    networkInput
	network Network
}

// networkInput is all that NetworkPolicies reads.
type networkInput struct {
	policies PolicyInputs
	// servers are the addresses of API servers known to the policy. NetworkPolicies uses the
	// time, the status and Calico only to find the servers.
	servers  []string
	snapshot state.Snapshot
}

// NetworkPolicies returns the same as the function NetworkPolicies. Nobody may change the result.
func (m *NetworkMemory) NetworkPolicies(policy *Policy, policies []Policy, snapshot state.Snapshot) Network {
	if m == nil {
		return NetworkPolicies(policy, policies, snapshot)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	input := networkInputOf(policy, policies, snapshot)
	if known, found := m.plans[policy.Name]; found && known.from.same(input) {
		known.from = input // whose parts the next input shares: equal pointers are compared fastest
		m.plans[policy.Name] = known
		return known.network
	}
	if m.plans == nil {
		m.plans = map[string]plannedNetwork{}
	}
	maps.DeleteFunc(m.plans, func(name string, _ plannedNetwork) bool { return FindPolicy(policies, name) == nil })
	network := NetworkPolicies(policy, policies, snapshot)
	m.plans[policy.Name] = plannedNetwork{input, network}
	return network
}

func networkInputOf(policy *Policy, policies []Policy, snapshot state.Snapshot) networkInput {
	input := networkInput{policies: InputsOf(policies), snapshot: snapshot}
	for _, server := range KnownAPIServers(policy, snapshot) {
		input.servers = append(input.servers, server.Address)
	}
	// SameNodes compares the nodes, and servers stand for the time and for Calico. The other
	// parts are not read.
	input.snapshot.Nodes, input.snapshot.Facts.Nodes = nil, nil
	input.snapshot.Policies, input.snapshot.Enactments, input.snapshot.Outlived = nil, nil, nil
	input.snapshot.NetworkPolicies, input.snapshot.Backend = nil, nil
	input.snapshot.Operator.Pods = nil // the source of what is compared
	input.snapshot.Facts.DaemonSets = slices.SortedFunc(slices.Values(snapshot.Facts.DaemonSets), func(a, b types.NamespacedName) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return input
}

func (in networkInput) same(other networkInput) bool {
	return in.snapshot.SameNodes(other.snapshot) &&
		slices.Equal(in.servers, other.servers) && in.policies.Same(other.policies) &&
		reflect.DeepEqual(in.snapshot.Facts, other.snapshot.Facts) &&
		reflect.DeepEqual(in.snapshot.Operator, other.snapshot.Operator) &&
		reflect.DeepEqual(in.snapshot.Serving, other.snapshot.Serving)
}
