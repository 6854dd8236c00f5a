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
		GiveWay:           true,
		// As kubeadm has them: a kubelet has the rights of its node alone.
		APIServerArgs: map[string][]string{"authorization-mode": {"Node", "RBAC"}, "enable-admission-plugins": {"NodeRestriction"}},
	}, &cluster))
}

func prepare() error {
	var err error
	if admin, err = client.NewWithWatch(options.UnthrottledConfig(cluster.Config), client.Options{Scheme: options.NewScheme()}); err != nil {
		return err
	}
	if err := admin.Create(context.Background(), daemonSet("calico-node")); err != nil {
		return err
	}
	operatorConfig, err = cluster.AddOperator(context.Background(), operatorUser, roleFile)
	return err
}

// daemonSet returns one of kube-system that runs on no node: it tells the operator
// which CNI the cluster has, and so that NetworkPolicies are enforced.
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
