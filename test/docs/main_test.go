// SPDX-License-Identifier: Apache-2.0

// Package docs runs the commands of the documentation's pages on a real control
// plane, with the operator as the pages install it, and compares the output with that
// in the pages. kwok simulates nodes and pods, and Calico is present only as an API.
package docs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/internal/options"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
)

// root is the folder in which the commands of the pages run.
const root = "../.."

var (
	cluster *testbed.ControlPlane
	admin   client.Client
	// shell is the environment of the commands: kubectl and helm, with their credentials.
	shell []string
)

type suite struct{ m *testing.M }

func (s suite) Run() int {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	bed, err := prepareCluster(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "preparing the cluster:", err)
		return 1
	}
	code := s.m.Run()
	if err := bed.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stopping Calico:", err)
	}
	return code
}

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	os.Exit(testbed.Run(suite{m}, testbed.Options{ControllerManager: true, Scheduler: true, Kwok: true}, &cluster))
}

// prepareCluster makes the cluster of section 1 of getting-started.
func prepareCluster(ctx context.Context) (bed *calico.Calico, err error) {
	if admin, err = client.New(options.UnthrottledConfig(cluster.Config), client.Options{Scheme: options.NewScheme()}); err != nil {
		return nil, err
	}
	if err := prepareShell(ctx); err != nil {
		return nil, err
	}
	if bed, err = calico.Start(ctx, cluster, calico.Options{Mode: calico.Native}); err != nil {
		return nil, err
	}
	pool := &v3.IPPool{ObjectMeta: metav1.ObjectMeta{Name: "default-ipv4-ippool"}, Spec: v3.IPPoolSpec{CIDR: "192.168.0.0/16"}}
	return bed, errors.Join(createNodes(ctx), createAgents(ctx), admin.Create(ctx, pool))
}

// prepareShell puts kubectl and helm into the PATH of the commands.
func prepareShell(ctx context.Context) error {
	kubeconfig, err := cluster.AddUserKubeconfig("reader-of-the-docs", testbed.Masters)
	if err != nil {
		return err
	}
	helm := exec.CommandContext(ctx, "go", "tool", "-n", "-modfile=hack/helm/go.mod", "helm")
	helm.Dir = root
	path, err := helm.Output()
	if err != nil {
		return fmt.Errorf("find helm: %w", err)
	}
	programs := filepath.Join(cluster.Dir, "programs")
	home := filepath.Join(cluster.Dir, "home")
	shell = append(os.Environ(), "PATH="+programs+":"+os.Getenv("PATH"), "HOME="+home, "KUBECONFIG="+kubeconfig, "KUBERC=off",
		"XDG_CACHE_HOME="+home, "XDG_CONFIG_HOME="+home, "XDG_DATA_HOME="+home)
	return errors.Join(os.Mkdir(home, 0o755), os.Mkdir(programs, 0o755),
		os.Symlink(filepath.Join(cluster.AssetsDir, "kubectl"), filepath.Join(programs, "kubectl")),
		os.Symlink(strings.TrimSpace(string(path)), filepath.Join(programs, "helm")))
}

// createNodes creates the nodes with kind's names and taints.
func createNodes(ctx context.Context) error {
	taint := corev1.Taint{Key: testbed.ControlPlaneRole, Effect: corev1.TaintEffectNoSchedule}
	for i, name := range []string{"cpnp-control-plane", "cpnp-control-plane2", "cpnp-control-plane3", "cpnp-worker"} {
		node := testbed.Node(name, testbed.InternalIP(fmt.Sprintf("172.18.0.%d", 2+i)))
		node.Spec.ProviderID = "kind://docker/cpnp/" + name
		if name != "cpnp-worker" {
			testbed.ControlPlaneNode()(node)
			testbed.Taints(taint)(node)
		}
		if err := testbed.CreateNode(ctx, admin, node); err != nil {
			return err
		}
	}
	return nil
}

// createAgents creates the DaemonSet by which the operator detects the CNI.
func createAgents(ctx context.Context) error {
	labels := map[string]string{"k8s-app": "calico-node"}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "calico-system"}}
	agents := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: namespace.Name, Name: "calico-node"}}
	agents.Spec.Selector = &metav1.LabelSelector{MatchLabels: labels}
	agents.Spec.Template.Labels = labels
	agents.Spec.Template.Spec.NodeSelector = map[string]string{"example.test/real": "true"} // matches no node
	agents.Spec.Template.Spec.Containers = []corev1.Container{{Name: "calico-node", Image: "example.test/calico-node"}}
	if err := admin.Create(ctx, namespace); err != nil {
		return err
	}
	return admin.Create(ctx, agents)
}
