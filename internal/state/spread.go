// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
)

// Spread counts the nodes on which a Service has a ready endpoint.
//
// Every existing node counts, also while cordoned, drained or deleted: pods may still run
// there. On an unready node no endpoint can be ready. So an unready endpoint there counts
// too, because the endpoint becomes ready with the node.
type Spread struct {
	// Nodes is the number of nodes, and Served is the number of nodes with an endpoint.
	Nodes, Served int
	// Ready is the number of nodes with a ready endpoint.
	Ready int
	// Without are the first nodes without an endpoint, sorted, if names were wanted.
	Without []string
}

// IsComplete says whether there are nodes, and every node has an endpoint.
func (s Spread) IsComplete() bool { return s.Nodes > 0 && s.Served == s.Nodes }

// lacksNode says whether a node has no endpoint.
func (s Spread) lacksNode() bool { return s.Served < s.Nodes }

// maxWithout is the number of named nodes in a Spread, and in a message.
const maxWithout = 3

// nodeTraits holds the used facts about a node.
type nodeTraits struct {
	name            string
	ready, balanced bool
}

// traitsOf returns the traits of a node. A node without a condition Ready counts as
// ready.
func traitsOf(node *corev1.Node) nodeTraits {
	unready := slices.ContainsFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status != corev1.ConditionTrue
	})
	return nodeTraits{name: node.Name, ready: !unready, balanced: UsedByLoadBalancers(node)}
}

// roster holds the nodes to compare with the endpoints of many Services, at a cost that
// depends only on the endpoints.
type roster struct {
	byName   map[string]nodeTraits
	balanced int
	sorted   []nodeTraits // empty if no names are wanted
}

func newRoster(byName map[string]nodeTraits) roster {
	r := roster{byName: byName}
	for _, node := range byName {
		if node.balanced {
			r.balanced++
		}
	}
	return r
}

// rosterOfAll returns the roster of all nodes, which are sorted by name.
func rosterOfAll(nodes []*corev1.Node) roster {
	byName, sorted := make(map[string]nodeTraits, len(nodes)), make([]nodeTraits, 0, len(nodes))
	for _, node := range nodes {
		traits := traitsOf(node)
		byName[traits.name], sorted = traits, append(sorted, traits)
	}
	r := newRoster(byName)
	r.sorted = sorted
	return r
}

// listRoster returns the roster of all nodes. Nobody may change the result.
func (o Observer) listRoster(ctx context.Context) (roster, error) {
	cached, memory, err := o.cachedNodes(ctx)
	if err != nil {
		return roster{}, err
	}
	return memory.rosterOf(cached)
}

// countNodes counts the nodes with endpoints, and names the first nodes without an
// endpoint.
func (p placed) countNodes(nodes roster) Endpoints {
	e := Endpoints{LookedUp: true, All: Spread{Nodes: len(nodes.byName)}, Balanced: Spread{Nodes: nodes.balanced}, Unplaced: p.unplaced}
	for name := range p.allNodes() {
		node, there := nodes.byName[name]
		if !there {
			continue
		}
		served, ready := p.servesNode(node)
		e.All.addNode(served, ready)
		if node.balanced {
			e.Balanced.addNode(served, ready)
		}
	}
	for _, node := range nodes.sorted {
		if !e.All.needsNames() && !e.Balanced.needsNames() {
			break
		}
		if served, _ := p.servesNode(node); served {
			continue
		}
		e.All.addName(node.name)
		if node.balanced {
			e.Balanced.addName(node.name)
		}
	}
	return e
}

// allNodes returns the nodes with endpoints of any IP version.
func (p placed) allNodes() sets.Set[string] {
	all := sets.New[string]()
	for _, f := range p.families {
		all = all.Union(f.any)
	}
	return all
}

func (s *Spread) addNode(served, ready bool) {
	if served {
		s.Served++
	}
	if ready {
		s.Ready++
	}
}

// needsNames says whether the Spread needs further names.
func (s *Spread) needsNames() bool { return len(s.Without) < min(maxWithout, s.Nodes-s.Served) }

func (s *Spread) addName(node string) {
	if s.needsNames() {
		s.Without = append(s.Without, node)
	}
}
