// SPDX-License-Identifier: Apache-2.0

// Command cpnp-operator keeps a Kubernetes control plane's network posture as declared by
// the cluster's ControlPlaneNetworkPolicies. cpnp-operator probe tries to reach
// control-plane nodes from the node of the probe. cpnp-operator check waits until an
// operator is ready. cpnp-operator uninstall removes all policies before the operator goes.
// cpnp-operator etcd-snapshot takes a verified snapshot of etcd.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/cpnp-dev/cpnp-operator/controllers"
	"github.com/cpnp-dev/cpnp-operator/internal/etcdsnapshot"
	"github.com/cpnp-dev/cpnp-operator/internal/options"
	"github.com/cpnp-dev/cpnp-operator/internal/probe"
	"github.com/cpnp-dev/cpnp-operator/internal/uninstall"
)

func main() {
	var logging zap.Options
	logging.BindFlags(flag.CommandLine)
	commands := map[string]options.Command{
		"": operator, "probe": observer, "check": checker, "uninstall": uninstall.Command, "etcd-snapshot": etcdsnapshot.Command,
	}
	run, err := options.ParseCommand(flag.CommandLine, os.Args[1:], commands)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	options.SetLogger(logging)
	if err := run(); err != nil {
		ctrl.Log.Error(err, "The program ends")
		os.Exit(1)
	}
}

func operator(flags *flag.FlagSet) func() error {
	var opts options.Options
	opts.BindFlags(flags)
	return func() error {
		return options.Run(opts.ManagerOptions(), func(ctx context.Context, mgr ctrl.Manager) error {
			o := controllers.Options{Own: options.OwnPod(), Memory: options.Memory(), Reports: opts.Reports}
			if err := controllers.SetupWithManager(ctx, mgr, o); err != nil {
				return err
			}
			return probe.SetupOperator(mgr)
		})
	}
}

func observer(flags *flag.FlagSet) func() error {
	var opts options.Probe
	opts.BindFlags(flags)
	return func() error {
		if err := opts.Check(); err != nil {
			return err
		}
		return options.Run(opts.ManagerOptions(), func(_ context.Context, mgr ctrl.Manager) error {
			return probe.SetupNode(mgr, opts.NodeName)
		})
	}
}

func checker(flags *flag.FlagSet) func() error {
	var check options.Check
	check.BindFlags(flags)
	return func() error { return check.Run(ctrl.SetupSignalHandler()) }
}
