// SPDX-License-Identifier: Apache-2.0

package field

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/internal/options"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
)

var (
	// ControlPlane is the control plane of the whole test package.
	ControlPlane *testbed.ControlPlane
	// Installed is the Calico in ControlPlane.
	Installed *calico.Calico
	// Admin is a client without restrictions.
	Admin client.WithWatch
	// OperatorConfig has the shipped rights.
	OperatorConfig *rest.Config
)

// RunTests runs the tests of a package on a control plane of their own.
func RunTests(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	os.Exit(testbed.Run(suite{m}, testbed.Options{
		Aggregation: true, CRDPaths: []string{"../../config/crd/bases"}, APIServerArgs: withoutEndpoints,
	}, &ControlPlane))
}

// suite installs Calico after the cluster has started and before the tests run.
type suite struct{ m *testing.M }

// Run installs Calico, and runs the tests.
func (s suite) Run() (code int) {
	var err error
	if Installed, err = calico.Start(context.Background(), ControlPlane, calico.Options{}); err == nil {
		defer func() {
			if err := Installed.Stop(); err != nil {
				fmt.Fprintln(os.Stderr, "stopping Calico:", err)
				code = max(code, 1)
			}
		}()
		Admin, err = client.NewWithWatch(options.UnthrottledConfig(ControlPlane.Config), client.Options{Scheme: options.NewScheme()})
	}
	if err == nil {
		err = startServers(context.Background())
	}
	if err == nil {
		OperatorConfig, err = ControlPlane.AddOperator(context.Background(), "cpnp-operator", "../../config/rbac/role.yaml")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "installing Calico:", err)
		return 1
	}
	return s.m.Run()
}
