// SPDX-License-Identifier: Apache-2.0

// Package probe tests observers on a real control plane, with what config/probe
// ships, as the user that it gives them.
package probe

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/internal/options"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

const (
	deadline = 60 * time.Second
	interval = 20 * time.Millisecond

	namespace, account = "cpnp-probe", "cpnp-probe"
)

var (
	cluster *testbed.ControlPlane
	admin   client.Client
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
	ctrl.SetLogger(logr.Discard())
	os.Exit(testbed.Run(suite{m}, testbed.Options{CRDPaths: []string{"../../config/crd/bases"}}, &cluster))
}

// prepare installs what is shipped, as its documentation says.
func prepare() error {
	var err error
	if admin, err = client.New(options.UnthrottledConfig(cluster.Config), client.Options{Scheme: options.NewScheme()}); err != nil {
		return err
	}
	apply := cluster.Kubectl(context.Background(), "apply", "--server-side", "--kustomize", "../../config/probe")
	if out, err := apply.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// credentials are those of the probe on a node: its service account's, bound to
// a pod there. None is a token that is not bound.
func credentials(node string) *rest.Config {
	config := options.UnthrottledConfig(cluster.Config)
	config.Impersonate = rest.ImpersonationConfig{
		UserName: serviceaccount.MakeUsername(namespace, account),
		Groups:   append(serviceaccount.MakeGroupNames(namespace), "system:authenticated"),
	}
	if node != "" {
		config.Impersonate.Extra = map[string][]string{serviceaccount.NodeNameKey: {node}}
	}
	return config
}
