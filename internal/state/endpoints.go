// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Endpoints says on which nodes a Service has ready endpoints. A traffic policy Local sends
// traffic only to endpoints on the same node. The zero value stands for a Service without
// endpoints.
type Endpoints struct {
	// LookedUp says whether the endpoints were looked up, which depends on the
	// policies.
	LookedUp bool
	// All is about every node of the cluster, Balanced about the nodes to which load
	// balancers may send traffic.
	All, Balanced Spread
	// Unplaced says whether there are endpoints without the name of a node, such as the
	// endpoints of the API servers. Such endpoints are local to no node.
	Unplaced bool
}

// fewNodes is the number of nodes to look at first, beside the nodes with endpoints: if
// one of the few nodes has no endpoint, a single Service needs no further nodes.
const fewNodes = 32

// placed holds the nodes with endpoints of a Service, by the IP versions of the
// endpoints. Traffic of one IP version is not sent to endpoints of the other.
type placed struct {
	families map[discoveryv1.AddressType]*family
	unplaced bool
}

type family struct{ ready, any sets.Set[string] }

// AddEndpoints looks up the endpoints of every Service for which asks returns true.
func (o Observer) AddEndpoints(ctx context.Context, services []Service, asks func(*corev1.Service) bool) error {
	var nodes *roster
	for i := range services {
		if asks == nil || !asks(services[i].Service) {
			continue
		}
		if nodes == nil {
			all, err := o.listRoster(ctx)
			if err != nil {
				return err
			}
			nodes = &all
		}
		where, err := o.endpointsOf(ctx, services[i].Key())
		if err != nil {
			return err
		}
		services[i].Endpoints = where.countNodes(*nodes)
	}
	return nil
}

// endpointsOf returns the nodes with endpoints of a Service.
func (o Observer) endpointsOf(ctx context.Context, key types.NamespacedName) (placed, error) {
	p := placed{families: map[discoveryv1.AddressType]*family{}}
	slicesOf, err := o.slicesOf(ctx, key)
	if err != nil {
		return p, err
	}
	for _, slice := range slicesOf {
		if slice.AddressType == discoveryv1.AddressTypeFQDN {
			continue // no traffic is sent to names
		}
		for _, endpoint := range slice.Endpoints {
			if endpoint.Node == "" {
				p.unplaced = true
				continue
			}
			f := p.families[slice.AddressType]
			if f == nil {
				f = &family{ready: sets.New[string](), any: sets.New[string]()}
				p.families[slice.AddressType] = f
			}
			f.any.Insert(endpoint.Node)
			if endpoint.Ready {
				f.ready.Insert(endpoint.Node)
			}
		}
	}
	return p, nil
}

// servesNode says whether the node has an endpoint of every IP version, and whether the
// node has a ready one.
func (p placed) servesNode(node nodeTraits) (served, ready bool) {
	served, ready = len(p.families) > 0, len(p.families) > 0
	for _, f := range p.families {
		is := f.ready.Has(node.name)
		ready = ready && is
		served = served && (is || !node.ready && f.any.Has(node.name))
	}
	return served, ready
}

// findEndpoints looks up the endpoints of one Service. The function looks at the nodes with
// endpoints, and at other nodes until a node without an endpoint is found. So the numbers
// count only the visited nodes, and no node is named: the writes to a Service depend on
// neither.
func (o Observer) findEndpoints(ctx context.Context, key types.NamespacedName) (Endpoints, error) {
	p, err := o.endpointsOf(ctx, key)
	if err != nil {
		return Endpoints{}, err
	}
	traits, err := o.traitsAt(ctx, p)
	if err != nil {
		return Endpoints{}, err
	}
	var e Endpoints
	for _, limit := range []int{len(traits) + fewNodes, 0} {
		var list corev1.NodeList
		if err := o.Cache.List(ctx, &list, client.Limit(int64(limit))); err != nil {
			return Endpoints{}, fmt.Errorf("listing nodes: %w", err)
		}
		for i := range list.Items {
			traits[list.Items[i].Name] = traitsOf(&list.Items[i])
		}
		e = p.countNodes(newRoster(traits))
		if len(list.Items) < limit || e.All.lacksNode() && e.Balanced.lacksNode() {
			break
		}
	}
	return e, nil
}

// traitsAt returns the traits of the nodes with endpoints, by name.
func (o Observer) traitsAt(ctx context.Context, p placed) (map[string]nodeTraits, error) {
	traits := map[string]nodeTraits{}
	for name := range p.allNodes() {
		var node corev1.Node
		err := o.Cache.Get(ctx, types.NamespacedName{Name: name}, &node)
		if client.IgnoreNotFound(err) != nil {
			return nil, fmt.Errorf("reading node %s: %w", name, err)
		}
		if err == nil {
			traits[name] = traitsOf(&node)
		}
	}
	return traits, nil
}

// EndpointNodes returns the nodes on which an EndpointSlice has a ready endpoint, and
// the nodes with only other endpoints, both sorted and without duplicates.
func EndpointNodes(slice *EndpointSlice) (ready, others []string) {
	with, all := sets.New[string](), sets.New[string]()
	for _, endpoint := range slice.Endpoints {
		if endpoint.Node == "" {
			continue
		}
		all.Insert(endpoint.Node)
		if endpoint.Ready {
			with.Insert(endpoint.Node)
		}
	}
	return sets.List(with), sets.List(all.Difference(with))
}
