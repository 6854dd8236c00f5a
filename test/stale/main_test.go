// SPDX-License-Identifier: Apache-2.0

// Package stale shows that nothing that is old makes the operator do harm: watches that
// are behind, lists of some time ago after a restart, answers that get lost. Whatever it
// does is judged by every state that the API server had, one after the other. Calico is
// there as its API, without a dataplane.
package stale

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/cpnp-dev/cpnp-operator/internal/options"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
)

var (
	cluster        *testbed.ControlPlane
	admin          client.Client
	anything       dynamic.Interface
	operatorConfig *rest.Config
	verbose        = flag.Bool("operator-log", false, "show the operator's log")
)

// suite installs Calico between the start of the cluster and the tests.
type suite struct{ m *testing.M }

func (s suite) Run() (code int) {
	installed, err := prepare(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, "preparing the cluster:", err)
		return 1
	}
	defer func() {
		if err := installed.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stopping Calico:", err)
			code = max(code, 1)
		}
	}()
	return s.m.Run()
}

func prepare(ctx context.Context) (installed *calico.Calico, err error) {
	if installed, err = calico.Start(ctx, cluster, calico.Options{Mode: calico.Native}); err != nil {
		return nil, err
	}
	if admin, err = client.New(options.Unthrottled(cluster.Config), client.Options{Scheme: options.Scheme()}); err != nil {
		return installed, err
	}
	if anything, err = dynamic.NewForConfig(options.Unthrottled(cluster.Config)); err != nil {
		return installed, err
	}
	operatorConfig, err = cluster.AddOperator(ctx, "cpnp-operator", "../../config/rbac/role.yaml")
	return installed, err
}

func TestMain(m *testing.M) {
	flag.Parse()
	ctrl.SetLogger(logr.Discard())
	if *verbose {
		ctrl.SetLogger(zap.New(zap.UseDevMode(true)))
	}
	os.Exit(testbed.Run(suite{m}, testbed.Options{CRDPaths: []string{"../../config/crd/bases"}}, &cluster))
}
