// SPDX-License-Identifier: Apache-2.0

// Package probe tests observers on a real control plane, with the objects of config/probe,
// as the user of these objects.
package probe

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/internal/options"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

const (
	deadline = 60 * time.Second
	interval = 50 * time.Millisecond

	namespace, account = "cpnp-probe", "cpnp-probe"
)

var (
	cluster *testbed.ControlPlane
	admin   client.Client
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	os.Exit(testbed.Run(testbed.Prepared(m, prepareCluster), testbed.Options{CRDPaths: []string{"../../config/crd/bases"}}, &cluster))
}

// prepareCluster installs the shipped objects, as the documentation says.
func prepareCluster(ctx context.Context) error {
	var err error
	if admin, err = client.New(options.UnthrottledConfig(cluster.Config), client.Options{Scheme: options.NewScheme()}); err != nil {
		return err
	}
	return cluster.ApplyKustomize(ctx, "../../config/probe")
}

// probeCredentials returns the credentials of the probe on a node: of its service account,
// bound to a pod there. Without a node, the token is not bound.
func probeCredentials(node string) *rest.Config {
	config := options.UnthrottledConfig(cluster.Config)
	config.Impersonate = testbed.Impersonate(namespace, account, node)
	return config
}
