// SPDX-License-Identifier: Apache-2.0

// Package modes tests the whole operator, with the shipped rights, for every way of serving
// Calico, and without Calico. Each story has a separate file.
package modes

import (
	"context"
	"flag"
	"os"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/cpnp-dev/cpnp-operator/internal/options"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

const (
	// operatorUser is the user of the operator, and roleFile has the shipped rights.
	operatorUser = "cpnp-operator"
	roleFile     = "../../config/rbac/role.yaml"
)

var (
	cluster        *testbed.ControlPlane
	admin          client.Client
	operatorConfig *rest.Config
	verbose        = flag.Bool("operator-log", false, "show the operator's log")
)

func TestMain(m *testing.M) {
	flag.Parse()
	ctrl.SetLogger(logr.Discard())
	if *verbose {
		ctrl.SetLogger(zap.New(zap.UseDevMode(true)))
	}
	os.Exit(testbed.Run(testbed.Prepared(m, prepareCluster), testbed.Options{
		Aggregation: true, AuditLog: true, GiveWay: true, CRDPaths: []string{"../../config/crd/bases"},
	}, &cluster))
}

func prepareCluster(ctx context.Context) error {
	var err error
	if admin, err = client.New(options.UnthrottledConfig(cluster.Config), client.Options{Scheme: options.NewScheme()}); err != nil {
		return err
	}
	operatorConfig, err = cluster.AddOperator(ctx, operatorUser, roleFile)
	return err
}
