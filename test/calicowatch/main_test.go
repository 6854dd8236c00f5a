// SPDX-License-Identifier: Apache-2.0

// Package calicowatch tests the follower of Calico's API on a real control plane with a
// real Calico, as a user with exactly the needed rights.
package calicowatch

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/go-logr/logr"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/internal/options"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

const (
	deadline = 60 * time.Second
	interval = 50 * time.Millisecond
	// soon is a patience short enough for a test.
	soon = 2 * time.Second

	user = "follower"
)

var (
	cluster    *testbed.ControlPlane
	admin      client.Client
	userConfig *rest.Config
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	os.Exit(testbed.Run(testbed.Prepared(m, prepareCluster), testbed.Options{Aggregation: true, AuditLog: true}, &cluster))
}

func prepareCluster(_ context.Context) error {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		clientgoscheme.AddToScheme, apiextensionsv1.AddToScheme, v3.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return err
		}
	}
	var err error
	if admin, err = client.New(options.UnthrottledConfig(cluster.Config), client.Options{Scheme: scheme}); err != nil {
		return err
	}
	if userConfig, err = cluster.AddUser(user); err != nil {
		return err
	}
	return grantRights()
}

// calicoResources are the resources of projectcalico.org which the follower reads.
var calicoResources = []string{
	"tiers", "globalnetworkpolicies", "tier.globalnetworkpolicies", "globalnetworksets",
	"hostendpoints", "felixconfigurations", "ippools", "clusterinformations",
}

// rulesWithout returns the rights of the follower, except for one resource.
func rulesWithout(without string) []rbacv1.PolicyRule {
	var rules []rbacv1.PolicyRule
	allow := func(group, resource string) {
		if resource != without {
			rules = append(rules, rbacv1.PolicyRule{
				APIGroups: []string{group}, Resources: []string{resource}, Verbs: []string{"list", "watch"},
			})
		}
	}
	allow("apiregistration.k8s.io", "apiservices")
	allow("migration.projectcalico.org", "datastoremigrations")
	for _, resource := range calicoResources {
		allow("projectcalico.org", resource)
	}
	// Without this right, Calico's API server shows no policy of any tier.
	return append(rules, rbacv1.PolicyRule{
		APIGroups: []string{"projectcalico.org"}, Resources: []string{"tiers"}, Verbs: []string{"get"},
	})
}

func grantRights() error {
	meta := metav1.ObjectMeta{Name: user}
	role := &rbacv1.ClusterRole{ObjectMeta: meta, Rules: rulesWithout("")}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: meta,
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: user},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	}
	if err := admin.Create(context.Background(), role); err != nil {
		return err
	}
	return admin.Create(context.Background(), binding)
}
