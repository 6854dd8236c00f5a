// SPDX-License-Identifier: Apache-2.0

// Package options turns the flags of the operator into the options of the manager:
// which objects are watched and kept in memory, and how metrics and logs are served.
package options

import (
	"flag"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/metrics"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// Options are the options of the command line.
type Options struct {
	// MetricsAddress serves metrics over HTTPS to clients that the API server lets read
	// metrics; "0" serves none.
	MetricsAddress string
	// MetricsCertDir holds tls.crt and tls.key, by which scrapers recognize the operator.
	// If empty, the operator uses a self-signed certificate, which no client can verify.
	MetricsCertDir string
	// ProbeAddress serves /healthz and /readyz; "0" serves neither.
	ProbeAddress string
	// LeaderElect lets one of several replicas work at a time.
	LeaderElect bool
	// LeaderElectionNamespace holds the lease. The default is the namespace of the
	// operator; outside of a cluster the option is required.
	LeaderElectionNamespace string
	// Reports writes a policy report for each policy.
	Reports bool
}

// BindFlags adds the flags to a flag set.
func (o *Options) BindFlags(flags *flag.FlagSet) {
	flags.StringVar(&o.MetricsAddress, "metrics-bind-address", ":8443", "`address` to serve metrics at over HTTPS; 0 serves none")
	flags.StringVar(&o.MetricsCertDir, "metrics-cert-dir", "",
		"`folder` with tls.crt and tls.key to serve metrics with, which are read again when they change; "+
			"by default a certificate that nobody can verify")
	flags.StringVar(&o.ProbeAddress, "health-probe-bind-address", ":8081", "`address` to serve /healthz and /readyz at; 0 serves none")
	flags.BoolVar(&o.LeaderElect, "leader-elect", false, "let one of several replicas work at a time")
	flags.StringVar(&o.LeaderElectionNamespace, "leader-election-namespace", "",
		"`namespace` of the lease; by default the operator's own, which is known only inside of a cluster")
	flags.BoolVar(&o.Reports, "reports", false,
		"write a report for each policy: a ClusterReport of openreports.io, or a ClusterPolicyReport of wgpolicyk8s.io, whichever is served")
}

// ManagerOptions returns the options of the manager.
func (o *Options) ManagerOptions() ctrl.Options {
	return ctrl.Options{
		Scheme:                        NewScheme(),
		Cache:                         CacheOptions(),
		Client:                        client.Options{FieldValidation: metav1.FieldValidationStrict},
		NewClient:                     newCountedClient,
		Metrics:                       o.metricsOptions(),
		HealthProbeBindAddress:        o.ProbeAddress,
		LeaderElection:                o.LeaderElect,
		LeaderElectionID:              LeaderElectionID,
		LeaderElectionNamespace:       o.LeaderElectionNamespace,
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 ptr.To(timing.LeaseDuration),
		RenewDeadline:                 ptr.To(timing.LeaseRenewal),
		RetryPeriod:                   ptr.To(timing.LeaseRetry),
		Controller: config.Controller{
			ReconciliationTimeout: timing.ReconcileTimeout,
			EnableWarmup:          ptr.To(true),
		},
	}
}

// newCountedClient returns a client whose writes are counted.
func newCountedClient(config *rest.Config, options client.Options) (client.Client, error) {
	c, err := client.New(config, options)
	if err != nil {
		return nil, err
	}
	return metrics.CountWrites(c), nil
}

// CacheOptions returns which objects are kept in memory: of every object only the
// fields that reconcilers read, shared with the reconcilers instead of copied.
func CacheOptions() cache.Options {
	return cache.Options{
		ReaderFailOnMissingInformer:  true,
		DefaultUnsafeDisableDeepCopy: ptr.To(true),
		DefaultTransform:             cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Node{}:                {Transform: state.TransformNode},
			&corev1.Service{}:             {Transform: state.TransformService},
			&discoveryv1.EndpointSlice{}:  {Transform: state.TransformEndpointSlice},
			&networkingv1.NetworkPolicy{}: {Transform: state.TransformNetworkPolicy},
			&appsv1.DaemonSet{}:           {Transform: state.TransformName},
			&corev1.Namespace{}:           {Transform: state.TransformNamespace},

			&admissionv1.ValidatingWebhookConfiguration{}: {Transform: state.TransformWebhooks},
			&admissionv1.MutatingWebhookConfiguration{}:   {Transform: state.TransformWebhooks},

			&corev1.Pod{}: {
				Transform: state.TransformPod,
				Field:     fields.OneTermEqualSelector("spec.hostNetwork", "true"),
			},
		},
	}
}

// NewScheme returns the scheme with the kinds that the operator knows.
func NewScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, calico.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			panic(err) // two kinds with one name: a fault of the build, not of the user
		}
	}
	return scheme
}

// UnthrottledConfig returns the configuration without the rate limit of the client: the
// rate limit of the API server is fairer, and repairs must not wait. Lists in pages are
// bounded. Answers are not compressed, as for the Kubernetes controller manager and
// scheduler: the API server would compress each event of a watch that began with a list.
func UnthrottledConfig(c *rest.Config) *rest.Config {
	c = state.LimitAnswers(c)
	c.QPS = -1
	c.DisableCompression = true
	return c
}
