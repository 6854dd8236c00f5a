// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/dataplane"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/judge"
	"github.com/cpnp-dev/cpnp-operator/internal/pipeline"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// assess assesses a snapshot of a cluster with Calico.
func assess(policy *plan.Policy, policies []plan.Policy, snapshot state.Snapshot) pipeline.Assessment {
	assessor := pipeline.Assessor{Judge: judge.Calico{}}
	return assessor.Assess(policy, policies, snapshot)
}

// calicoNodes returns the nodes for a world of Calico.
func calicoNodes(snapshot state.Snapshot) []dataplane.Node {
	identity := snapshot.Addresses()
	var nodes []dataplane.Node
	for i := range snapshot.Nodes {
		name := snapshot.Nodes[i].Name
		nodes = append(nodes, dataplane.Node{Name: name, Addresses: identity.OfNode(name)})
	}
	return nodes
}
