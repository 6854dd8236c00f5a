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

// Endpoints says on which nodes a Service has ready endpoints: where a traffic
// policy Local has somewhere to send traffic. The zero value is that of a
// Service without endpoints.
type Endpoints struct {
	// Looked says that it was looked up. That is so only where a policy asks.
	Looked bool
	// All is about every node of the cluster, Balanced about those to which
	// load balancers may send traffic.
	All, Balanced Spread
	// Unplaced says that there are endpoints that name no node, as those of the
	// API servers do. They are local to none.
	Unplaced bool
}

// fewNodes are looked at first, beside those that have endpoints: where one of them
// has none, a single Service needs no more.
const fewNodes = 32

// placed is which nodes have endpoints of a Service, of each IP version that it
// has endpoints of. Traffic of one version is not sent to the other's endpoints.
type placed struct {
	families map[discoveryv1.AddressType]*family
	unplaced bool
}

type family struct{ ready, any sets.Set[string] }

// addEndpoints finds out where those Services have endpoints of which that is asked.
func (o Observer) addEndpoints(ctx context.Context, services []Service, asks func(*corev1.Service) bool) error {
	var nodes *roster
	for i := range services {
		if asks == nil || !asks(services[i].Service) {
			continue
		}
		if nodes == nil {
			all, err := o.roster(ctx)
			if err != nil {
				return err
			}
			nodes = &all
		}
		where, err := o.endpointsOf(ctx, services[i].Key())
		if err != nil {
			return err
		}
		services[i].Endpoints = where.spread(*nodes)
	}
	return nil
}

// endpointsOf returns where a Service has endpoints.
func (o Observer) endpointsOf(ctx context.Context, key types.NamespacedName) (placed, error) {
	p := placed{families: map[discoveryv1.AddressType]*family{}}
	slicesOf, err := o.slicesOf(ctx, key)
	if err != nil {
		return p, err
	}
	for i := range slicesOf {
		slice := &slicesOf[i]
		if slice.AddressType == discoveryv1.AddressTypeFQDN {
			continue // nothing is sent to names
		}
		for _, endpoint := range slice.Endpoints {
			if endpoint.NodeName == nil {
				p.unplaced = true
				continue
			}
			f := p.families[slice.AddressType]
			if f == nil {
				f = &family{ready: sets.New[string](), any: sets.New[string]()}
				p.families[slice.AddressType] = f
			}
			f.any.Insert(*endpoint.NodeName)
			if isReady(endpoint) {
				f.ready.Insert(*endpoint.NodeName)
			}
		}
	}
	return p, nil
}

// slicesOf returns the EndpointSlices of a Service.
func (o Observer) slicesOf(ctx context.Context, key types.NamespacedName) ([]discoveryv1.EndpointSlice, error) {
	var list discoveryv1.EndpointSliceList
	ofService := client.MatchingFields{EndpointSlicesByService: key.String()}
	if err := o.Cache.List(ctx, &list, client.InNamespace(key.Namespace), ofService); err != nil {
		return nil, fmt.Errorf("listing endpoints of %s: %w", key, err)
	}
	return list.Items, nil
}

// on says whether the node has an endpoint of every IP version, and a ready one.
func (p placed) on(node nodeTraits) (served, ready bool) {
	served, ready = len(p.families) > 0, len(p.families) > 0
	for _, f := range p.families {
		is := f.ready.Has(node.name)
		ready = ready && is
		served = served && (is || !node.ready && f.any.Has(node.name))
	}
	return served, ready
}

// lookUp finds out where one Service has endpoints. It looks at the nodes that have
// some, and at no more others than it takes to find one without. So the counts are
// of those alone, and none is named: what is done about a Service depends on
// neither.
func (o Observer) lookUp(ctx context.Context, key types.NamespacedName) (Endpoints, error) {
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
		e = p.spread(newRoster(traits))
		if len(list.Items) < limit || e.All.lacking() && e.Balanced.lacking() {
			break
		}
	}
	return e, nil
}

// traitsAt returns those of the nodes that have endpoints, by name.
func (o Observer) traitsAt(ctx context.Context, p placed) (map[string]nodeTraits, error) {
	traits := map[string]nodeTraits{}
	for name := range p.everywhere() {
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

func isReady(endpoint discoveryv1.Endpoint) bool {
	// A nil condition is to be read as ready (discovery/v1 API).
	return endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready
}

// EndpointNodes returns the nodes on which an EndpointSlice has a ready endpoint,
// and those on which it has only others, both sorted and without duplicates.
func EndpointNodes(slice *discoveryv1.EndpointSlice) (ready, others []string) {
	with, all := sets.New[string](), sets.New[string]()
	for _, endpoint := range slice.Endpoints {
		if endpoint.NodeName == nil {
			continue
		}
		all.Insert(*endpoint.NodeName)
		if isReady(endpoint) {
			with.Insert(*endpoint.NodeName)
		}
	}
	return sets.List(with), sets.List(all.Difference(with))
}
