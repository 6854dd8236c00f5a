// SPDX-License-Identifier: Apache-2.0

// Package posture tests the reports of a policy on TLS and on backups of etcd: on a
// real control plane, with the shipped roles and admission policies, observers on
// machines with networks of their own, real etcds, and servers with deliberate faults.
package posture

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
)

var (
	cluster *testbed.ControlPlane
	admin   client.Client
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	os.Exit(testbed.Run(testbed.Prepared(m, prepareCluster), testbed.Options{
		CRDPaths: []string{"../../config/crd/bases"}, AuditLog: true,
		// The tests set the addresses of the API servers.
		APIServerArgs: map[string][]string{"endpoint-reconciler-type": {"none"}},
	}, &cluster))
}

// prepareCluster installs the shipped roles and admission policies, as the documentation says.
func prepareCluster(ctx context.Context) error {
	var err error
	if admin, err = client.New(options.UnthrottledConfig(cluster.Config), client.Options{Scheme: options.NewScheme()}); err != nil {
		return err
	}
	return cluster.ApplyKustomize(ctx, "../../config/default", "../../config/probe")
}

// accountConfig returns the credentials of a service account, bound to a pod on a node if one is given.
func accountConfig(namespace, name, node string) *rest.Config {
	config := options.UnthrottledConfig(cluster.Config)
	config.Impersonate = testbed.Impersonate(namespace, name, node)
	return config
}
