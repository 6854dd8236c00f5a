// SPDX-License-Identifier: Apache-2.0

// Package stolen tries the writes that are possible with a stolen token of the
// operator, and of a probe: on a real API server, with everything that is shipped.
// Every write is a dry run, which passes authorization and admission like a real one.
package stolen

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/internal/options"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
)

const (
	operatorNamespace, operatorAccount = "cpnp-system", "cpnp-controller-manager"
	probeNamespace, probeAccount       = "cpnp-probe", "cpnp-probe"

	// lag is how long the API server may take to apply a new role or policy.
	lag = 20 * time.Second
)

var (
	cluster *testbed.ControlPlane
	admin   client.Client
	// operator and probe are thieves with a token of the operator, and of the probe on cp-1.
	operator, probe thief
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	os.Exit(testbed.Run(testbed.Prepared(m, prepare), testbed.Options{
		CRDPaths: []string{"../../config/crd/bases", "../reports/testdata"},
	}, &cluster))
}

// prepare installs what is shipped, and steals the tokens.
func prepare(ctx context.Context) (err error) {
	if admin, err = client.New(options.UnthrottledConfig(cluster.Config), client.Options{Scheme: options.NewScheme()}); err != nil {
		return err
	}
	if _, err := calico.Start(ctx, cluster, calico.Options{Mode: calico.Native}); err != nil {
		return err
	}
	for _, folder := range []string{"../../config/default", "../../config/probe", "testdata"} {
		flag := "--kustomize"
		if folder == "testdata" {
			flag = "--filename"
		}
		out, err := cluster.Kubectl(ctx, "apply", "--server-side", "--force-conflicts", flag, folder).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
	}
	installed = time.Now()
	if operator, err = steal(ctx, operatorNamespace, operatorAccount, nil); err != nil {
		return err
	}
	pod := &corev1.Pod{}
	if err := admin.Get(ctx, client.ObjectKey{Namespace: probeNamespace, Name: "probe-cp-1"}, pod); err != nil {
		return err
	}
	probe, err = steal(ctx, probeNamespace, probeAccount, pod)
	return err
}

// steal returns a thief with the token of a service account, bound to a pod if one is given.
func steal(ctx context.Context, namespace, name string, pod *corev1.Pod) (thief, error) {
	config, err := cluster.AccountConfig(ctx, namespace, name, pod)
	if err != nil {
		return thief{}, err
	}
	requests, err := rest.HTTPClientFor(options.UnthrottledConfig(config))
	return thief{name: name, requests: requests, server: strings.TrimSuffix(cluster.Config.Host, "/")}, err
}
