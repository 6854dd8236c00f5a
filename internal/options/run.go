// SPDX-License-Identifier: Apache-2.0

package options

import (
	"context"
	"fmt"
	"os"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"

	"github.com/cpnp-dev/cpnp-operator/internal/timing"
	"github.com/cpnp-dev/cpnp-operator/internal/watch"
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
	if err := mgr.AddReadyzCheck("caches", watch.Synced(mgr.GetCache())); err != nil {
		return err
	}
	return Start(ctx, mgr, timing.Grace)
}
