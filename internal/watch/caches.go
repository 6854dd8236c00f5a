// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"context"
	"errors"
	"net/http"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/healthz"

	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// startedFirst is a cache started by the manager together with the manager's own cache,
// before the reconcilers. The manager recognizes such a cache by the method GetCache.
type startedFirst struct{ cache.Cache }

// GetCache implements the interface by which the manager recognizes caches.
func (c startedFirst) GetCache() cache.Cache { return c.Cache }

// addCache adds a cache to a manager. The operator is not ready before the cache is filled:
// without it, no reconciler starts.
func addCache(mgr ctrl.Manager, of string, c cache.Cache) error {
	if err := mgr.Add(startedFirst{c}); err != nil {
		return err
	}
	return mgr.AddReadyzCheck("cache-of-"+of, Synced(c))
}

// Synced returns the check that every kind watched with a cache has been read once. Until
// then, the operator does not act.
func Synced(caches interface{ WaitForCacheSync(context.Context) bool }) healthz.Checker {
	return func(request *http.Request) error {
		ctx, cancel := context.WithTimeout(request.Context(), timing.CacheSyncAnswer)
		defer cancel()
		if !caches.WaitForCacheSync(ctx) {
			return errors.New("the cluster has not been read yet")
		}
		return nil
	}
}
