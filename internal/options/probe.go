// SPDX-License-Identifier: Apache-2.0

package options

import (
	"errors"
	"flag"
	"fmt"
	"os"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// nodeNameVariable is set by the downward API.
const nodeNameVariable = "NODE_NAME"

// Probe are the options of an observer on a node.
type Probe struct {
	// NodeName is the name of the node with the network of the observer.
	NodeName string
	// ProbeAddress serves /healthz and /readyz; "0" serves neither.
	ProbeAddress string
}

// BindFlags adds the flags to a flag set.
func (p *Probe) BindFlags(flags *flag.FlagSet) {
	flags.StringVar(&p.NodeName, "node-name", os.Getenv(nodeNameVariable),
		"`name` of the node whose network the probe uses; by default the value of "+nodeNameVariable)
	// The address is in the network of the node, where only the kubelet has to reach
	// the port.
	flags.StringVar(&p.ProbeAddress, "health-probe-bind-address", "127.0.0.1:9861",
		"`address` to serve /healthz and /readyz at; 0 serves none")
}

// Check returns an error if the options are not usable.
func (p *Probe) Check() error {
	switch p.NodeName {
	case "":
		return errors.New("the name of the node is not known: set --node-name, or the environment variable " + nodeNameVariable)
	case v1alpha1.ObserverOperator:
		return fmt.Errorf("a node named %q cannot run a probe, "+
			"because the answers would count as answers of the operator: leave the node out", p.NodeName)
	}
	return nil
}

// ManagerOptions returns the options of the observer's manager. There is no leader,
// because every node observes, there are no metrics, and the cache holds only
// enactments.
func (p *Probe) ManagerOptions() ctrl.Options {
	return ctrl.Options{
		Scheme: probeScheme(),
		Cache: cache.Options{
			ReaderFailOnMissingInformer:  true,
			DefaultUnsafeDisableDeepCopy: ptr.To(true),
			DefaultTransform:             cache.TransformStripManagedFields(),
		},
		Client:                 client.Options{FieldValidation: metav1.FieldValidationStrict},
		Metrics:                metricsserver.Options{BindAddress: "0"},
		HealthProbeBindAddress: p.ProbeAddress,
		Controller:             config.Controller{ReconciliationTimeout: timing.ReconcileTimeout},
	}
}

// probeScheme returns a scheme with the kinds of the operator only.
func probeScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		panic(err) // a fault of the build, not of the user
	}
	return scheme
}
