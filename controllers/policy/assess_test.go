// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/dataplane"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/judge"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// assess assesses a snapshot of a cluster with Calico.
func assess(policy *plan.Policy, policies []plan.Policy, snapshot state.Snapshot) Observation {
	return new(planned).assess(judge.Calico{}, policy, policies, snapshot)
}

// calicoNodes returns the nodes for a world of Calico.
func calicoNodes(snapshot state.Snapshot) []dataplane.Node {
	var nodes []dataplane.Node
	for _, node := range nodesOf(snapshot) {
		nodes = append(nodes, dataplane.Node{Name: node.Name, Addresses: node.Addresses})
	}
	return nodes
}
