// SPDX-License-Identifier: Apache-2.0

// Package system tests the operator as users run the operator: as a whole, with its shipped
// rights only, on a real control plane. Each story has its own file.
package system

import (
	"context"
	"flag"
	"os"
	"testing"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/cpnp-dev/cpnp-operator/internal/options"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// operatorUser is the operator's user.
const operatorUser = "cpnp-operator"

// roleFile has the shipped rights.
const roleFile = "../../config/rbac/role.yaml"

var (
	cluster        *testbed.ControlPlane
	admin          client.WithWatch
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
		CRDPaths:          []string{"../../config/crd/bases"},
		ControllerManager: true,
		Scheduler:         true,
		Kwok:              true,
		AuditLog:          true,
		GiveWay:           true,
		// As with kubeadm: a kubelet has the rights of its own node only.
		APIServerArgs: map[string][]string{"authorization-mode": {"Node", "RBAC"}, "enable-admission-plugins": {"NodeRestriction"}},
	}, &cluster))
}

func prepareCluster(ctx context.Context) error {
	var err error
	if admin, err = client.NewWithWatch(options.UnthrottledConfig(cluster.Config), client.Options{Scheme: options.NewScheme()}); err != nil {
		return err
	}
	if err := admin.Create(ctx, daemonSet("calico-node")); err != nil {
		return err
	}
	operatorConfig, err = cluster.AddOperator(ctx, operatorUser, roleFile)
	return err
}

// daemonSet returns a DaemonSet of kube-system without pods. The operator detects the
// cluster's CNI by the DaemonSet, and concludes that NetworkPolicies are enforced.
func daemonSet(name string) *appsv1.DaemonSet {
	labels := map[string]string{"app": name}
	return &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: name},
		Spec: appsv1.DaemonSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{
					NodeSelector: map[string]string{"no-such": "node"},
					Containers:   []corev1.Container{{Name: "main", Image: "none"}},
				},
			},
		},
	}
}
