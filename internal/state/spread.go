// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
)

// Spread is on how many of some nodes a Service has a ready endpoint.
//
// Every node counts that is there, cordoned ones and those that are being
// drained or deleted too: pods may still run there. On a node that is not ready
// nothing can be ready. There an endpoint that is not ready will do, since it
// will be when the node is.
type Spread struct {
	// Nodes is how many nodes count, Served on how many of them an endpoint is.
	Nodes, Served int
	// Ready is on how many of them a ready one is.
	Ready int
	// Without are the first nodes that have none, sorted, if it was asked for
	// names.
	Without []string
}

// Complete says that no node is without an endpoint. It is not so of no node.
func (s Spread) Complete() bool { return s.Nodes > 0 && s.Served == s.Nodes }

// lacking says that a node is without an endpoint.
func (s Spread) lacking() bool { return s.Served < s.Nodes }

// maxWithout is how many nodes a Spread names: as many as a message does.
const maxWithout = 3

// nodeTraits is what matters about a node here.
type nodeTraits struct {
	name            string
	ready, balanced bool
}

// traitsOf returns them. A node that does not say whether it is ready may be.
func traitsOf(node *corev1.Node) nodeTraits {
	unready := slices.ContainsFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status != corev1.ConditionTrue
	})
	return nodeTraits{name: node.Name, ready: !unready, balanced: UsedByLoadBalancers(node)}
}

// roster is the nodes with which the endpoints of many Services are compared, at a
// cost that depends on the endpoints alone.
type roster struct {
	byName   map[string]nodeTraits
	balanced int
	sorted   []nodeTraits // empty where no names are wanted
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

// roster returns all nodes.
func (o Observer) roster(ctx context.Context) (roster, error) {
	nodes, err := o.Nodes(ctx)
	if err != nil {
		return roster{}, err
	}
	byName, sorted := make(map[string]nodeTraits, len(nodes)), make([]nodeTraits, 0, len(nodes))
	for i := range nodes {
		traits := traitsOf(&nodes[i])
		byName[traits.name], sorted = traits, append(sorted, traits)
	}
	r := newRoster(byName)
	r.sorted = sorted
	return r, nil
}

// spread counts the nodes that have endpoints, and names the first that have none.
func (p placed) spread(nodes roster) Endpoints {
	e := Endpoints{Looked: true, All: Spread{Nodes: len(nodes.byName)}, Balanced: Spread{Nodes: nodes.balanced}, Unplaced: p.unplaced}
	for name := range p.everywhere() {
		node, there := nodes.byName[name]
		if !there {
			continue
		}
		served, ready := p.on(node)
		e.All.add(served, ready)
		if node.balanced {
			e.Balanced.add(served, ready)
		}
	}
	for _, node := range nodes.sorted {
		if !e.All.missing() && !e.Balanced.missing() {
			break
		}
		if served, _ := p.on(node); served {
			continue
		}
		e.All.name(node.name)
		if node.balanced {
			e.Balanced.name(node.name)
		}
	}
	return e
}

// everywhere returns the nodes that have endpoints of some IP version.
func (p placed) everywhere() sets.Set[string] {
	all := sets.New[string]()
	for _, f := range p.families {
		all = all.Union(f.any)
	}
	return all
}

func (s *Spread) add(served, ready bool) {
	if served {
		s.Served++
	}
	if ready {
		s.Ready++
	}
}

// missing says that names are still to be found.
func (s *Spread) missing() bool { return len(s.Without) < min(maxWithout, s.Nodes-s.Served) }

func (s *Spread) name(node string) {
	if s.missing() {
		s.Without = append(s.Without, node)
	}
}
