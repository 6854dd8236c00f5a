// SPDX-License-Identifier: Apache-2.0

// Package flood tests the shipped program, with its shipped rights, arguments and memory
// limit, while other users fill the cluster with objects of the largest size that an API
// server accepts.
package flood

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/cpnp-dev/cpnp-operator/internal/options"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

const (
	operatorUser      = "cpnp-operator"
	operatorNamespace = "cpnp-system"
	config            = "../../config/"
)

var (
	cluster *testbed.ControlPlane
	admin   client.Client
	// program is the path of the operator's program, and shipped is its container in the
	// shipped Deployment.
	program string
	shipped corev1.Container
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	os.Exit(testbed.Run(testbed.Prepared(m, prepareCluster), testbed.Options{
		CRDPaths: []string{config + "crd/bases"},
		// Repeated writes would fill etcd otherwise.
		APIServerArgs: map[string][]string{
			"etcd-compaction-interval": {"5s"}, "authorization-mode": {"Node", "RBAC"}, "enable-admission-plugins": {"NodeRestriction"},
		},
	}, &cluster))
}

func prepareCluster(ctx context.Context) (err error) {
	if admin, err = client.New(options.UnthrottledConfig(cluster.Config), client.Options{Scheme: options.NewScheme()}); err != nil {
		return err
	}
	var deployment appsv1.Deployment
	if err := readFirst(config+"manager/manager.yaml", &deployment); err != nil {
		return err
	}
	shipped = deployment.Spec.Template.Spec.Containers[0]
	if err := grantRights(ctx); err != nil {
		return err
	}
	program = filepath.Join(cluster.Dir, "manager")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", program, "../..").CombinedOutput(); err != nil {
		return fmt.Errorf("building the operator: %w: %s", err, out)
	}
	return nil
}

// readFirst reads the first object of a shipped file.
func readFirst(file string, object any) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	first, _, _ := strings.Cut(strings.TrimPrefix(string(text), "---\n"), "\n---")
	return yaml.UnmarshalStrict([]byte(first), object)
}

// grantRights gives the operator its shipped rights and no other rights, and gives a
// scraper the rights to read the metrics.
func grantRights(ctx context.Context) error {
	operator := rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: operatorUser}
	scraper := rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: operatorNamespace, Name: "scraper"}
	objects := []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: operatorNamespace}},
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: scraper.Namespace, Name: scraper.Name}},
		testbed.Pod(operatorNamespace, "manager"),
	}
	for file, subject := range map[string]rbacv1.Subject{
		"role.yaml": operator, "metrics_auth_role.yaml": operator, "metrics_reader_role.yaml": scraper,
	} {
		role := &rbacv1.ClusterRole{}
		if err := readFirst(config+"rbac/"+file, role); err != nil {
			return err
		}
		objects = append(objects, role, &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: role.Name}, Subjects: []rbacv1.Subject{subject},
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		})
	}
	election := &rbacv1.Role{}
	if err := readFirst(config+"rbac/leader_election_role.yaml", election); err != nil {
		return err
	}
	election.Namespace = operatorNamespace
	objects = append(objects, election, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: operatorNamespace, Name: election.Name}, Subjects: []rbacv1.Subject{operator},
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: election.Name},
	})
	besides, err := testbed.ShippedBesides(config, operatorUser)
	if err != nil {
		return err
	}
	for _, object := range append(objects, besides...) {
		if err := admin.Create(ctx, object); err != nil {
			return err
		}
	}
	return nil
}
