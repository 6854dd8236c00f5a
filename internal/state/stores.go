// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Stores returns the store of a kind in the cache. A store returns the cached objects, not
// copies. A cache.Reader copies each object into a list, and for thousands of objects the
// copies take longer than the use of the objects.
type Stores func(ctx context.Context, kind client.Object) (toolscache.Indexer, error)

// StoresOf returns the stores of a cache.
func StoresOf(c cache.Cache) Stores {
	return func(ctx context.Context, kind client.Object) (toolscache.Indexer, error) {
		informer, err := c.GetInformer(ctx, kind)
		if err != nil {
			return nil, fmt.Errorf("finding the cache of %T: %w", kind, err)
		}
		shared, ok := informer.(toolscache.SharedIndexInformer)
		if !ok {
			return nil, fmt.Errorf("the cache of %T is a %T without a store", kind, informer)
		}
		return shared.GetIndexer(), nil
	}
}

// listCached returns the cached objects of a kind in no particular order; in one namespace,
// if a namespace is given. list is a list of the kind, for a cache without stores.
// transform is the transform of the kind in the cache; nil if the cached objects have the
// type of the kind.
func (o Observer) listCached(
	ctx context.Context, kind client.Object, list client.ObjectList, namespace string, transform toolscache.TransformFunc,
) ([]any, error) {
	if o.Stores == nil {
		return o.listCopies(ctx, list, namespace, transform)
	}
	store, err := o.Stores(ctx, kind)
	if err != nil {
		return nil, err
	}
	if namespace != "" {
		return store.ByIndex(toolscache.NamespaceIndex, namespace)
	}
	return store.List(), nil
}

func (o Observer) listCopies(
	ctx context.Context, list client.ObjectList, namespace string, transform toolscache.TransformFunc,
) ([]any, error) {
	if err := o.Cache.List(ctx, list, client.InNamespace(namespace)); err != nil {
		return nil, err
	}
	var objects []any
	err := meta.EachListItem(list, func(object runtime.Object) error {
		if transform == nil {
			objects = append(objects, object)
			return nil
		}
		kept, err := transform(object)
		objects = append(objects, kept)
		return err
	})
	return objects, err
}

// objectsOf returns the objects of a type.
func objectsOf[T any](objects []any) []T {
	typed := make([]T, 0, len(objects))
	for _, object := range objects {
		if one, ok := object.(T); ok {
			typed = append(typed, one)
		}
	}
	return typed
}
