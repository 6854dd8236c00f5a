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
)

// nodeNameVariable is set by the downward API.
const nodeNameVariable = "NODE_NAME"

// Probe are the options of an observer on a node.
type Probe struct {
	// NodeName is the name of the node whose network the observer is in.
	NodeName string
	// ProbeAddress serves /healthz and /readyz; "0" serves none.
	ProbeAddress string
}

// Bind adds the flags to a flag set.
func (p *Probe) Bind(flags *flag.FlagSet) {
	flags.StringVar(&p.NodeName, "node-name", os.Getenv(nodeNameVariable),
		"`name` of the node that this runs on, in its network; by default what "+nodeNameVariable+" says")
	// In the node's network, where nobody else has to reach it.
	flags.StringVar(&p.ProbeAddress, "health-probe-bind-address", "127.0.0.1:9861",
		"`address` to serve /healthz and /readyz at; 0 serves none")
}

// Check returns what is wrong with the options.
func (p *Probe) Check() error {
	switch p.NodeName {
	case "":
		return errors.New("it is not known which node this is: set --node-name, or the environment variable " + nodeNameVariable)
	case v1alpha1.ObserverOperator:
		return fmt.Errorf("a node named %q can not have a probe: its answers would be taken for those of the operator itself", p.NodeName)
	}
	return nil
}

// Manager returns the options of the observer's manager. It has no leader, as
// every node observes, no metrics, and a cache of nothing but enactments.
func (p *Probe) Manager() ctrl.Options {
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
		Controller:             config.Controller{ReconciliationTimeout: reconciliationTimeout},
	}
}

// probeScheme has this operator's own kinds alone.
func probeScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		panic(err) // a fault of the build, not of the user
	}
	return scheme
}
