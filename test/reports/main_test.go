// SPDX-License-Identifier: Apache-2.0

// Package reports writes policy reports to a real API server, with the rights
// of the operator and under the admission policies that confine it.
package reports

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/go-logr/logr"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/internal/options"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// account is the operator's service account, as config/default names it.
const (
	accountNamespace, accountName = "cpnp-system", "cpnp-controller-manager"
	account                       = "system:serviceaccount:" + accountNamespace + ":" + accountName
)

// deadline is how long the API server may take to apply a new right or kind,
// and the garbage collection to notice that an owner was deleted.
const deadline, interval = 60 * time.Second, 100 * time.Millisecond

var (
	cluster *testbed.ControlPlane
	admin   client.Client
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	os.Exit(testbed.Run(testbed.Prepared(m, prepareCluster), testbed.Options{
		CRDPaths: []string{"../../config/crd/bases"}, ControllerManager: true, AuditLog: true, GiveWay: true,
	}, &cluster))
}

// prepareCluster installs what is shipped, and binds the role for reports, as the
// documentation says.
func prepareCluster(ctx context.Context) (err error) {
	if admin, err = client.New(options.UnthrottledConfig(cluster.Config), client.Options{Scheme: options.NewScheme()}); err != nil {
		return err
	}
	if err := cluster.ApplyKustomize(ctx, "../../config/default"); err != nil {
		return err
	}
	return admin.Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "cpnp-reports-writer"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cpnp-reports-writer"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: accountNamespace, Name: accountName}},
	})
}

// newClient returns a client with a token of the operator's service account.
func newClient(ctx context.Context) (client.Client, error) {
	config, err := cluster.AccountConfig(ctx, accountNamespace, accountName, nil)
	if err != nil {
		return nil, err
	}
	return client.New(options.UnthrottledConfig(config), client.Options{Scheme: options.NewScheme(), FieldValidation: metav1.FieldValidationStrict})
}
