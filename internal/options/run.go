// SPDX-License-Identifier: Apache-2.0

package options

import (
	"context"
	"fmt"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
)

// Run makes a manager for the cluster that the flags or the environment name,
// sets it up, and runs it until the process is told to end.
func Run(opts ctrl.Options, setUp func(context.Context, ctrl.Manager) error) error {
	LimitMemory()
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("finding the cluster: %w; give --kubeconfig or set KUBECONFIG", err)
	}
	ctx := ctrl.SetupSignalHandler()
	mgr, err := ctrl.NewManager(Unthrottled(config), opts)
	if err != nil {
		return fmt.Errorf("creating the manager: %w", err)
	}
	if err := setUp(ctx, mgr); err != nil {
		return err
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	if err := mgr.AddReadyzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	return Start(ctx, mgr, Grace)
}
