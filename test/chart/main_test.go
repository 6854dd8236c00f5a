// SPDX-License-Identifier: Apache-2.0

// Package chart installs the Helm chart with the real helm into a real control
// plane, and runs the operator with the token of the installed account.
package chart

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/internal/options"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

const (
	chart     = "../../charts/cpnp-operator"
	release   = "cpnp-operator"
	namespace = "cpnp-system"
)

var (
	cluster *testbed.ControlPlane
	admin   client.WithWatch
	// kubeconfig has the credentials of an administrator who installs charts.
	kubeconfig string
	// helm and helm3 are the programs.
	helm, helm3 string
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	os.Exit(testbed.Run(testbed.Prepared(m, prepare), testbed.Options{ControllerManager: true, Scheduler: true, Kwok: true, AuditLog: true}, &cluster))
}

func prepare(_ context.Context) (err error) {
	if admin, err = client.NewWithWatch(options.UnthrottledConfig(cluster.Config), client.Options{Scheme: options.NewScheme()}); err != nil {
		return err
	}
	if kubeconfig, err = cluster.AddUserKubeconfig("installer", testbed.Masters); err != nil {
		return err
	}
	if helm, err = buildHelm("../../hack/helm/go.mod"); err != nil {
		return err
	}
	helm3, err = buildHelm("../../hack/helm3/go.mod")
	return err
}

// buildHelm returns the program of a module: the go command builds the program and prints its path.
func buildHelm(module string) (string, error) {
	out, err := exec.Command("go", "tool", "-n", "-modfile="+absolute(module), "helm").Output()
	return strings.TrimSpace(string(out)), err
}

func absolute(path string) string {
	full, err := filepath.Abs(path)
	if err != nil {
		panic(err) // there is no working folder
	}
	return full
}

// runHelm runs helm as an administrator, and returns its output.
func runHelm(ctx context.Context, arguments ...string) (string, error) {
	return runProgram(ctx, helm, arguments...)
}

func runProgram(ctx context.Context, program string, arguments ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, arguments...)
	home := filepath.Join(cluster.Dir, "helm")
	cmd.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig, "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
	out, err := cmd.CombinedOutput()
	return string(out), err
}
