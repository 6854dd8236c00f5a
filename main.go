// SPDX-License-Identifier: Apache-2.0

// Command cpnp-operator keeps a Kubernetes control plane's network posture as
// its ControlPlaneNetworkPolicies declare it.
package main

import (
	"flag"
	"fmt"
	"os"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/cpnp-dev/cpnp-operator/controllers"
	"github.com/cpnp-dev/cpnp-operator/internal/options"
)

func main() {
	var opts options.Options
	var logging zap.Options
	opts.Bind(flag.CommandLine)
	logging.BindFlags(flag.CommandLine)
	flag.Parse()
	ctrl.SetLogger(zap.New(zap.UseFlagOptions(&logging)))

	if err := run(opts); err != nil {
		ctrl.Log.Error(err, "The operator ends")
		os.Exit(1)
	}
}

func run(opts options.Options) error {
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("finding the cluster: %w; give --kubeconfig or set KUBECONFIG", err)
	}
	ctx := ctrl.SetupSignalHandler()
	mgr, err := ctrl.NewManager(options.Unthrottled(config), opts.Manager())
	if err != nil {
		return fmt.Errorf("creating the manager: %w", err)
	}
	if err := controllers.Setup(ctx, mgr); err != nil {
		return err
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	if err := mgr.AddReadyzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	return options.Start(ctx, mgr, options.Grace)
}
