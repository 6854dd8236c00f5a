// SPDX-License-Identifier: Apache-2.0

// Package system tests the operator as users have it: the whole of it, with no
// more rights than it is shipped with, on a real control plane. There is one
// file for each story.
package system

import (
	"context"
	"flag"
	"fmt"
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

// operatorUser is whom the operator acts as.
const operatorUser = "cpnp-operator"

// roleFile is what the operator is shipped with.
const roleFile = "../../config/rbac/role.yaml"

var (
	cluster        *testbed.ControlPlane
	admin          client.WithWatch
	operatorConfig *rest.Config
	verbose        = flag.Bool("operator-log", false, "show the operator's log")
)

// suite prepares the cluster between its start and the tests.
type suite struct{ m *testing.M }

func (s suite) Run() int {
	if err := prepare(); err != nil {
		fmt.Fprintln(os.Stderr, "preparing the cluster:", err)
		return 1
	}
	return s.m.Run()
}

func TestMain(m *testing.M) {
	flag.Parse()
	ctrl.SetLogger(logr.Discard())
	if *verbose {
		ctrl.SetLogger(zap.New(zap.UseDevMode(true)))
	}
	os.Exit(testbed.Run(suite{m}, testbed.Options{
		CRDPaths:          []string{"../../config/crd/bases"},
		ControllerManager: true,
		Scheduler:         true,
		Kwok:              true,
		AuditLog:          true,
	}, &cluster))
}

func prepare() error {
	var err error
	if admin, err = client.NewWithWatch(options.Unthrottled(cluster.Config), client.Options{Scheme: options.Scheme()}); err != nil {
		return err
	}
	operatorConfig, err = cluster.AddOperator(context.Background(), operatorUser, roleFile)
	return err
}
