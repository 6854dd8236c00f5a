// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// slicesByService is the index of EndpointSlices by the namespaced name of the Service.
	slicesByService = "cpnp-service"
	// exposedServices is the index of the Services that can be reached from outside the
	// cluster: in a large cluster, few of many.
	exposedServices = "cpnp-exposed"
	// exposedValue is the only value of exposedServices.
	exposedValue = "true"
)

// AddIndexes adds the indexes that the Observer needs to a cache that has not started yet. An
// index of the cache itself would have two values for each object, one for all namespaces.
func AddIndexes(ctx context.Context, c cache.Cache) error {
	for _, kind := range []client.Object{&discoveryv1.EndpointSlice{}, &corev1.Service{}} {
		informer, err := c.GetInformer(ctx, kind, cache.BlockUntilSynced(false))
		if err == nil {
			err = informer.AddIndexers(IndexersOf(kind))
		}
		if err != nil {
			return fmt.Errorf("indexing %T: %w", kind, err)
		}
	}
	return nil
}

// IndexersOf returns the indexes that the Observer needs of a kind.
func IndexersOf(kind client.Object) toolscache.Indexers {
	switch kind.(type) {
	case *discoveryv1.EndpointSlice:
		return toolscache.Indexers{slicesByService: indexSlice}
	case *corev1.Service:
		return toolscache.Indexers{exposedServices: indexExposed}
	}
	return toolscache.Indexers{}
}

func indexSlice(object any) ([]string, error) {
	slice, ok := object.(*EndpointSlice)
	if !ok || slice.Service == "" {
		return nil, nil
	}
	return []string{types.NamespacedName{Namespace: slice.Namespace, Name: slice.Service}.String()}, nil
}

func indexExposed(object any) ([]string, error) {
	if service, ok := object.(*corev1.Service); ok && IsExposed(service) {
		return []string{exposedValue}, nil
	}
	return nil, nil
}

// slicesOf returns the EndpointSlices of a Service, in no particular order.
func (o Observer) slicesOf(ctx context.Context, key types.NamespacedName) ([]*EndpointSlice, error) {
	objects, err := o.listIndexed(ctx, indexed{
		kind: &discoveryv1.EndpointSlice{}, list: &discoveryv1.EndpointSliceList{}, namespace: key.Namespace,
		transform: TransformEndpointSlice, index: slicesByService, value: key.String(), values: indexSlice,
	})
	if err != nil {
		return nil, fmt.Errorf("listing endpoints of %s: %w", key, err)
	}
	return objectsOf[*EndpointSlice](objects), nil
}

// indexed are the objects of a kind with a value in an index. list, transform and values are
// for a cache without stores; an empty namespace stands for all namespaces.
type indexed struct {
	kind         client.Object
	list         client.ObjectList
	namespace    string
	transform    toolscache.TransformFunc
	index, value string
	values       toolscache.IndexFunc
}

func (o Observer) listIndexed(ctx context.Context, wanted indexed) ([]any, error) {
	if o.Stores != nil {
		store, err := o.Stores(ctx, wanted.kind)
		if err != nil {
			return nil, err
		}
		return store.ByIndex(wanted.index, wanted.value)
	}
	objects, err := o.listCopies(ctx, wanted.list, wanted.namespace, wanted.transform)
	if err != nil {
		return nil, err
	}
	var found []any
	for _, object := range objects {
		values, err := wanted.values(object)
		if err != nil {
			return nil, err
		}
		if slices.Contains(values, wanted.value) {
			found = append(found, object)
		}
	}
	return found, nil
}
