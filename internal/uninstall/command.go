// SPDX-License-Identifier: Apache-2.0

package uninstall

import (
	"context"
	"flag"
	"fmt"
	"os"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/internal/options"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// Command is the command uninstall of the program.
func Command(flags *flag.FlagSet) func() error {
	var opts options.Uninstall
	opts.BindFlags(flags)
	return func() error {
		if err := opts.Check(); err != nil {
			return err
		}
		return Run(ctrl.SetupSignalHandler(), opts)
	}
}

// Run uninstalls on the cluster of the flags or the environment.
func Run(ctx context.Context, opts options.Uninstall) error {
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("finding the cluster: %w; set the flag --kubeconfig or the variable KUBECONFIG", err)
	}
	c, err := client.New(options.UnthrottledConfig(config), client.Options{Scheme: options.NewScheme()})
	if err != nil {
		return err
	}
	u := &Uninstall{
		Client: c, Out: os.Stdout, Namespace: opts.Namespace, Timeout: opts.Timeout,
		LeaderTimeout: timing.LeaderPatience, Poll: timing.UninstallPoll,
	}
	return u.Run(ctx)
}
