// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// ConfigMapCaches holds one cache for each watched ConfigMap.
type ConfigMapCaches map[types.NamespacedName]cache.Cache

// AddConfigMaps adds a cache for each ConfigMap that identifies the kind of cluster.
func AddConfigMaps(mgr ctrl.Manager) (ConfigMapCaches, error) {
	caches := ConfigMapCaches{}
	for _, name := range profile.ConfigMaps() {
		c, err := cache.New(mgr.GetConfig(), cache.Options{
			HTTPClient: mgr.GetHTTPClient(), Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper(),
			ReaderFailOnMissingInformer: true, DefaultUnsafeDisableDeepCopy: ptr.To(true),
			ByObject: map[client.Object]cache.ByObject{&corev1.ConfigMap{}: {
				Namespaces: map[string]cache.Config{name.Namespace: {}},
				Field:      fields.OneTermEqualSelector("metadata.name", name.Name),
				Transform:  state.TransformConfigMap,
			}},
		})
		if err != nil {
			return nil, fmt.Errorf("making a cache for ConfigMap %s: %w", name, err)
		}
		caches[name] = c
		if err := addCache(mgr, "configmap-"+name.Namespace+"-"+name.Name, c); err != nil {
			return nil, fmt.Errorf("adding the cache for ConfigMap %s: %w", name, err)
		}
	}
	return caches, nil
}

// Readers returns a reader for each ConfigMap.
func (c ConfigMapCaches) Readers() state.ConfigMaps {
	readers := state.ConfigMaps{}
	for name, one := range c {
		readers[name] = one
	}
	return readers
}
