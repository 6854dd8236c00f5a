// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

var verification = prometheus.NewHistogram(newHistogramOptions("cpnp_verification_duration_seconds",
	"Time for planning the objects of one policy, and for judging what the objects would do to required flows.",
	[]float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5}))

func init() {
	metrics.Registry.MustRegister(verification)
}

// ObserveVerification records how long one verification took.
func ObserveVerification(took time.Duration) { verification.Observe(took.Seconds()) }

// newHistogramOptions returns the options of a histogram served in the classic and in the
// native form. The scraper asks for either form.
func newHistogramOptions(name, help string, buckets []float64) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  100,
		NativeHistogramMinResetDuration: time.Hour,
	}
}
