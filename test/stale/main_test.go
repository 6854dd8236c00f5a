// SPDX-License-Identifier: Apache-2.0

// Package stale shows that the operator does no harm when it reads a stale state: when watches lag,
// when lists after a restart are of some time ago, and when answers are lost. The test judges every
// state that the API server had, one after the other. Calico is present as an API, without a dataplane.
package stale

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
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

var start = testbed.Options{CRDPaths: []string{"../../config/crd/bases"}, GiveWay: true}

// suite makes a place of the started cluster, and starts more clusters.
type suite struct {
	m     *testing.M
	first **testbed.ControlPlane

	mu    sync.Mutex
	stops []func() error
}

func (s *suite) Run() (code int) {
	defer func() {
		if err := inParallel(len(s.stops), func(i int) error { return s.stops[i]() }); err != nil {
			fmt.Fprintln(os.Stderr, "stopping the clusters:", err)
			code = max(code, 1)
		}
	}()
	places = make(chan *place, *clusters)
	if err := inParallel(*clusters, func(i int) error { return s.furnish(context.Background(), i) }); err != nil {
		fmt.Fprintln(os.Stderr, "preparing the clusters:", err)
		return 1
	}
	return s.m.Run()
}

// inParallel runs a function so many times in parallel, since most of the time is waiting.
func inParallel(times int, do func(i int) error) error {
	errs := make([]error, times)
	var doing sync.WaitGroup
	for i := range times {
		doing.Go(func() { errs[i] = do(i) })
	}
	doing.Wait()
	return errors.Join(errs...)
}

// furnish makes a place: the first in the started cluster, each other one in a cluster of its own.
func (s *suite) furnish(ctx context.Context, number int) (err error) {
	cp, stop := *s.first, func() error { return nil }
	if number > 0 {
		if cp, err = testbed.Start(ctx, start); err != nil {
			return err
		}
		stop = cp.Stop
	}
	installed, err := calico.Start(ctx, cp, calico.Options{Mode: calico.Native})
	if err != nil {
		return errors.Join(err, stop())
	}
	s.mu.Lock()
	s.stops = append(s.stops, func() error { return errors.Join(installed.Stop(), stop()) })
	s.mu.Unlock()
	config := options.UnthrottledConfig(cp.Config)
	p := &place{config: config}
	var errs [3]error
	p.admin, errs[0] = client.New(config, client.Options{Scheme: options.NewScheme()})
	p.anything, errs[1] = dynamic.NewForConfig(config)
	p.rights, errs[2] = cp.AddOperator(ctx, "cpnp-operator", "../../config/rbac/role.yaml")
	places <- p
	return errors.Join(errs[:]...)
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
	var cluster *testbed.ControlPlane
	os.Exit(testbed.Run(&suite{m: m, first: &cluster}, start, &cluster))
}
