// SPDX-License-Identifier: Apache-2.0

package calico

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

const (
	// startTimeout limits each step of a start. On a machine that compiles at the same
	// time, a step takes many times the usual two seconds.
	startTimeout = 60 * time.Second
	pollInterval = 50 * time.Millisecond
)

// Mode is the way in which projectcalico.org/v3 is served.
type Mode string

const (
	// Aggregated is the way of Calico up to v3.31: Calico's own API server stores the
	// objects as crd.projectcalico.org/v1, and Felix reads these.
	Aggregated Mode = "Aggregated"
	// Native is a way of Calico v3.32 and later: CRDs of the v3 kinds themselves. No Felix
	// here reads such objects.
	Native Mode = "Native"
)

// Options tells what to start.
type Options struct {
	// Mode is Aggregated when empty. Aggregated needs [testbed.Options] with Aggregation.
	Mode Mode
}

// Calico is a Calico whose API is served.
type Calico struct {
	cp        *testbed.ControlPlane
	client    client.Client
	assets    string
	apiServer *testbed.Process // nil in mode Native
	created   []client.Object  // created by Start, and deleted by Stop in the reverse order
}

// Start returns once the API is served and has the objects of every installation: the
// tiers, and a ClusterInformation with a ready datastore. After a failure, nothing runs.
func Start(ctx context.Context, cp *testbed.ControlPlane, o Options) (*Calico, error) {
	assets, err := FindAssets(ctx, os.Stderr)
	if err != nil {
		return nil, err
	}
	admin, err := client.New(cp.Config, client.Options{})
	if err != nil {
		return nil, err
	}
	c := &Calico{cp: cp, client: admin, assets: assets}
	if err := c.startMode(ctx, o); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

func (c *Calico) startMode(ctx context.Context, o Options) error {
	start := c.startAggregated
	if o.Mode == Native {
		start = c.startNative
	}
	if err := start(ctx); err != nil {
		return err
	}
	return c.waitForDiscovery(ctx)
}

// waitForDiscovery waits until a new client discovers Calico's kinds, a moment after these
// kinds are served.
func (c *Calico) waitForDiscovery(ctx context.Context) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, pollInterval, startTimeout, true, func(ctx context.Context) (bool, error) {
		var newcomer client.Client
		if newcomer, last = client.New(c.cp.Config, client.Options{}); last == nil {
			tiers := &unstructured.UnstructuredList{}
			tiers.SetAPIVersion(groupVersion)
			tiers.SetKind("TierList")
			last = newcomer.List(ctx, tiers)
		}
		return last == nil, c.serverError()
	})
	if err != nil {
		return fmt.Errorf("wait until Calico's kinds are discovered: %w", errors.Join(err, last))
	}
	return nil
}

// Stop unregisters the API and stops the API's server: the control plane is then again
// without Calico. The CRDs stay, with all stored objects. The error tells whether the
// program had ended before.
func (c *Calico) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	errs := []error{c.serverError()}
	for _, object := range slices.Backward(c.created) {
		errs = append(errs, client.IgnoreNotFound(c.client.Delete(ctx, object)))
	}
	if c.apiServer != nil {
		c.apiServer.Stop()
	}
	c.apiServer, c.created = nil, nil
	return errors.Join(errs...)
}

func (c *Calico) installCRDs(folder string) error { return installCRDs(c.cp, c.assets, folder) }

func installCRDs(cp *testbed.ControlPlane, assets, folder string) error {
	options := envtest.CRDInstallOptions{
		Paths:              []string{filepath.Join(assets, folder)},
		ErrorIfPathMissing: true,
		MaxTime:            startTimeout,
	}
	if folder == nativeCRDs {
		if err := envtest.ReadCRDFiles(&options); err != nil {
			return err
		}
		for _, kind := range options.CRDs {
			asLater(kind)
		}
		options.Paths = nil
	}
	_, err := envtest.InstallCRDs(cp.Config, options)
	return err
}

// waitFor waits until the object is ready, and fails early when a program ends meanwhile.
func (c *Calico) waitFor(ctx context.Context, object *unstructured.Unstructured, ready func() bool) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, pollInterval, startTimeout, true, func(ctx context.Context) (bool, error) {
		last = c.client.Get(ctx, client.ObjectKeyFromObject(object), object)
		return last == nil && ready(), c.serverError()
	})
	if err != nil {
		return fmt.Errorf("wait for %s %s: %w", object.GetKind(), object.GetName(), errors.Join(err, last))
	}
	return nil
}

func (c *Calico) serverError() error {
	if c.apiServer == nil {
		return nil
	}
	return c.apiServer.Died()
}
