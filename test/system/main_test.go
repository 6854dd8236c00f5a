// SPDX-License-Identifier: Apache-2.0

// Package system tests the operator as users run the operator: as a whole, with its shipped
// rights only, on a real control plane. Each story has its own file.
package system

import (
	"context"
	"flag"
	"os"
	"strconv"
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
	verbose  = flag.Bool("operator-log", false, "show the operator's log")
	clusters = flag.Int("clusters", 3, "how many control planes there are: so many stories are told at the same time")
)

// place is a cluster that one story at a time uses.
type place struct {
	cluster *testbed.ControlPlane
	admin   client.WithWatch
	rights  *rest.Config // of the operator as it is shipped
}

// places are the free clusters.
var places chan *place

func TestMain(m *testing.M) {
	flag.Parse()
	ctrl.SetLogger(logr.Discard())
	if *verbose {
		ctrl.SetLogger(zap.New(zap.UseDevMode(true)))
	}
	// As many tests run at the same time as there are clusters: most of the time is waiting.
	if err := flag.Set("test.parallel", strconv.Itoa(*clusters)); err != nil {
		panic(err)
	}
	places = make(chan *place, *clusters)
	os.Exit(testbed.RunSeveral(m, testbed.Options{
		CRDPaths:          []string{"../../config/crd/bases"},
		ControllerManager: true,
		Scheduler:         true,
		Kwok:              true,
		AuditLog:          true,
		GiveWay:           true,
		// As with kubeadm: a kubelet has the rights of its own node only.
		APIServerArgs: map[string][]string{"authorization-mode": {"Node", "RBAC"}, "enable-admission-plugins": {"NodeRestriction"}},
	}, *clusters, furnish))
}

// furnish makes a place of a started cluster.
func furnish(ctx context.Context, cluster *testbed.ControlPlane) (stop func() error, err error) {
	p := &place{cluster: cluster}
	if p.admin, err = client.NewWithWatch(options.UnthrottledConfig(cluster.Config), client.Options{Scheme: options.NewScheme()}); err != nil {
		return nil, err
	}
	if err := p.admin.Create(ctx, daemonSet("calico-node")); err != nil {
		return nil, err
	}
	if p.rights, err = cluster.AddOperator(ctx, operatorUser, roleFile); err != nil {
		return nil, err
	}
	places <- p
	return nil, nil
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
