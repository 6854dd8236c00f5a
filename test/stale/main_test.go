// SPDX-License-Identifier: Apache-2.0

// Package stale shows that the operator does no harm when it reads a stale state: when watches lag,
// when lists after a restart are of some time ago, and when answers are lost. The test judges every
// state that the API server had, one after the other. Calico is present as an API, without a dataplane.
package stale

import (
	"context"
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/cpnp-dev/cpnp-operator/internal/options"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
)

var (
	seed     = flag.Uint64("stale-seed", 1, "of what is random; 0 takes a new one")
	verbose  = flag.Bool("operator-log", false, "show the operator's log")
	clusters = flag.Int("clusters", 5, "how many control planes there are: so many stories are told at the same time")
)

// place is a cluster that one story at a time uses.
type place struct {
	config   *rest.Config // with all rights
	admin    client.Client
	anything dynamic.Interface
	rights   *rest.Config // of the operator as it is shipped
}

// places are the free clusters.
var places chan *place

// furnish makes a place of a started cluster.
func furnish(ctx context.Context, cp *testbed.ControlPlane) (stop func() error, err error) {
	installed, err := calico.Start(ctx, cp, calico.Options{Mode: calico.Native})
	if err != nil {
		return nil, err
	}
	config := options.UnthrottledConfig(cp.Config)
	p := &place{config: config}
	var errs [3]error
	p.admin, errs[0] = client.New(config, client.Options{Scheme: options.NewScheme()})
	p.anything, errs[1] = dynamic.NewForConfig(config)
	p.rights, errs[2] = cp.AddOperator(ctx, "cpnp-operator", "../../config/rbac/role.yaml")
	places <- p
	return installed.Stop, errors.Join(errs[:]...)
}

func TestMain(m *testing.M) {
	flag.Parse()
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	ctrl.SetLogger(logr.Discard())
	if *verbose {
		ctrl.SetLogger(zap.New(zap.UseDevMode(true)))
	}
	places = make(chan *place, *clusters)
	start := testbed.Options{CRDPaths: []string{"../../config/crd/bases"}, GiveWay: true}
	os.Exit(testbed.RunSeveral(m, start, *clusters, furnish))
}
