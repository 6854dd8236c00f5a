// SPDX-License-Identifier: Apache-2.0

package options

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"

	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// Run creates a manager for the cluster of the flags or the environment, sets the
// manager up, and runs the manager until the process is told to end.
func Run(opts ctrl.Options, setUp func(context.Context, ctrl.Manager) error) error {
	LimitMemory()
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("finding the cluster: %w; set the flag --kubeconfig or the variable KUBECONFIG", err)
	}
	ctx := ctrl.SetupSignalHandler()
	go returnIdleMemory(ctx, os.Getenv)
	mgr, err := ctrl.NewManager(UnthrottledConfig(config), opts)
	if err != nil {
		return fmt.Errorf("creating the manager: %w", err)
	}
	if err := setUp(ctx, mgr); err != nil {
		return err
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	if err := mgr.AddReadyzCheck("caches", cachesSynced(mgr.GetCache())); err != nil {
		return err
	}
	return Start(ctx, mgr, timing.Grace)
}

// cachesSynced returns the check that every watched kind has been read once. Until then,
// the operator does not act.
func cachesSynced(caches interface{ WaitForCacheSync(context.Context) bool }) healthz.Checker {
	return func(request *http.Request) error {
		ctx, cancel := context.WithTimeout(request.Context(), timing.CacheSyncAnswer)
		defer cancel()
		if !caches.WaitForCacheSync(ctx) {
			return errors.New("the cluster has not been read yet")
		}
		return nil
	}
}
