// SPDX-License-Identifier: Apache-2.0

// Package stolen tries what somebody can do with a stolen token of the operator, and of a
// probe: on a real API server, with everything that is shipped. Every write is a dry run,
// which passes authorization and admission like any other.
package stolen

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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

	// lag is how long the API server may take until it acts by a new role or policy.
	lag = 20 * time.Second
)

var (
	cluster *testbed.ControlPlane
	admin   client.Client
	// operator and probe are who has a token of the operator, and of the probe on cp-1.
	operator, probe thief
)

type suite struct{ m *testing.M }

func (s suite) Run() int {
	if err := prepare(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "preparing the cluster:", err)
		return 1
	}
	return s.m.Run()
}

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	os.Exit(testbed.Run(suite{m}, testbed.Options{CRDPaths: []string{"../../config/crd/bases"}}, &cluster))
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

// steal returns who has a token of a service account, bound to a pod if there is one.
func steal(ctx context.Context, namespace, name string, pod *corev1.Pod) (thief, error) {
	request := &authenticationv1.TokenRequest{}
	if pod != nil {
		request.Spec.BoundObjectRef = &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID}
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	if err := admin.SubResource("token").Create(ctx, account, request); err != nil {
		return thief{}, err
	}
	config := options.UnthrottledConfig(rest.AnonymousClientConfig(cluster.Config))
	config.BearerToken = request.Status.Token
	requests, err := rest.HTTPClientFor(config)
	return thief{name: name, requests: requests, server: strings.TrimSuffix(cluster.Config.Host, "/")}, err
}
