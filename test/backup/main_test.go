// SPDX-License-Identifier: Apache-2.0

// Package backup reads every source of backups of etcd on a real API server, as the operator:
// at first without any right, and then with the rights that the operator's own messages name.
package backup

import (
	"context"
	"os"
	"testing"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/internal/options"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// namespace has the CronJobs, Jobs, Leases and Etcds.
const namespace = "backups"

// account is the operator's service account, as config/default names it.
const account = "system:serviceaccount:cpnp-system:cpnp-controller-manager"

var (
	cluster *testbed.ControlPlane
	admin   client.Client
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	os.Exit(testbed.Run(testbed.Prepared(m, prepareCluster), testbed.Options{AuditLog: true, GiveWay: true}, &cluster))
}

func prepareCluster(ctx context.Context) (err error) {
	if admin, err = client.New(options.UnthrottledConfig(cluster.Config), client.Options{Scheme: options.NewScheme()}); err != nil {
		return err
	}
	for _, name := range []string{namespace, "cpnp-system"} {
		if err := admin.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
			return err
		}
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "cpnp-system", Name: "cpnp-controller-manager"}}
	return admin.Create(ctx, account)
}

// newReader returns a client without cache, as the operator's API reader, with a token of
// the operator's service account.
func newReader(ctx context.Context) (client.Client, error) {
	config, err := cluster.AccountConfig(ctx, "cpnp-system", "cpnp-controller-manager", nil)
	if err != nil {
		return nil, err
	}
	return client.New(options.UnthrottledConfig(config), client.Options{Scheme: options.NewScheme()})
}
