// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/internal/options"
	"github.com/cpnp-dev/cpnp-operator/test/monitoring/scrape"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

const (
	release   = "cpnp-operator"
	namespace = "cpnp-system"
)

var (
	cluster *testbed.ControlPlane
	admin   client.Client
	// helm and manager are the programs.
	helm, manager string
)

// The API server knows the kinds of the Prometheus operator, and so checks the objects.
func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	definitions, err := goOutput("list", "-m", "-f", "{{.Dir}}", "github.com/prometheus-operator/prometheus-operator")
	if err != nil {
		fmt.Fprintln(os.Stderr, "finding the Prometheus operator:", err)
		os.Exit(1)
	}
	definition := func(kind string) string {
		return filepath.Join(definitions, "example/prometheus-operator-crd/monitoring.coreos.com_"+kind+".yaml")
	}
	os.Exit(testbed.Run(testbed.Prepared(m, prepare), testbed.Options{
		ControllerManager: true, Kwok: true, CRDPaths: []string{definition("servicemonitors"), definition("prometheusrules")},
	}, &cluster))
}

func prepare(_ context.Context) (err error) {
	if admin, err = client.New(options.UnthrottledConfig(cluster.Config), client.Options{Scheme: options.NewScheme()}); err != nil {
		return err
	}
	if helm, err = goOutput("tool", "-n", "-modfile="+scrape.File("hack/helm/go.mod"), "helm"); err != nil {
		return err
	}
	manager = filepath.Join(cluster.Dir, "manager")
	_, err = goOutput("-C", scrape.File("."), "build", "-o", manager, ".")
	return err
}

// goOutput returns what the go command prints.
func goOutput(arguments ...string) (string, error) {
	cmd := exec.Command("go", arguments...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	return strings.TrimSpace(string(out)), err
}

// runHelm runs helm as an administrator, and returns what helm printed.
func runHelm(ctx context.Context, arguments ...string) (string, error) {
	cmd := exec.CommandContext(ctx, helm, arguments...)
	home := filepath.Join(cluster.Dir, "helm")
	cmd.Env = append(os.Environ(), "KUBECONFIG="+cluster.KubeconfigPath, "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// ownAddress returns an address of this machine. An EndpointSlice may not have loopback
// addresses.
func ownAddress() (string, error) {
	found, err := net.InterfaceAddrs()
	if err != nil {
		return "", err
	}
	for _, a := range found {
		if ip, is := a.(*net.IPNet); is && ip.IP.To4() != nil && ip.IP.IsGlobalUnicast() {
			return ip.IP.String(), nil
		}
	}
	return "", errors.New("this machine has no address but loopback")
}
