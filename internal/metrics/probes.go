// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

var (
	connectTime = prometheus.NewHistogramVec(newHistogramOptions("cpnp_probe_connect_duration_seconds",
		"Time until a connection to a component was made.", latencies), []string{"component", "observer"})

	handshakeTime = prometheus.NewHistogramVec(newHistogramOptions("cpnp_probe_handshake_duration_seconds",
		"Time from the connection to the end of the TLS handshake with a component.", latencies), []string{"component", "observer"})

	attempts = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "cpnp_probe_attempts_total",
		Help: "Attempts of an observer to connect to a component and to make a TLS handshake, by result.",
	}, []string{"component", "observer", "result"})

	lastHandshake = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "cpnp_probe_last_handshake_seconds",
		Help: "Duration of the latest TLS handshake with a component of a node, from the observer. No series after an attempt without handshake.",
	}, []string{"policy", "component", "node", "observer"})
)

// latencies are the limits of buckets, from a handshake within one node to the timeout of a
// probe.
var latencies = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5}

func init() {
	metrics.Registry.MustRegister(connectTime, handshakeTime, attempts, lastHandshake)
}

// Results of an attempt.
const (
	// ProbeHandshake: the TLS handshake succeeded.
	ProbeHandshake = "Handshake"
	// ProbePlaintext: the component answered without TLS.
	ProbePlaintext = "Plaintext"
	// ProbeHandshakeFailed: the component answered, and ended the handshake, or sent garbage.
	ProbeHandshakeFailed = "HandshakeFailed"
	// ProbeSilent: the connection was made, and nothing was answered in time.
	ProbeSilent = "Silent"
	// ProbeRefused: the connection was refused.
	ProbeRefused = "Refused"
	// ProbeDropped: nothing answered to the attempt to connect.
	ProbeDropped = "Dropped"
	// ProbeUnreachable: there is no way to the address.
	ProbeUnreachable = "Unreachable"
	probeOther       = "Other"
)

var probeResults = []string{
	ProbeHandshake, ProbePlaintext, ProbeHandshakeFailed, ProbeSilent, ProbeRefused, ProbeDropped, ProbeUnreachable,
}

// probes are the components that are probed, and the observers. Names of observers are
// written by probe pods, and names of additional ports by users: other names get no series.
var probes struct {
	mu                    sync.Mutex
	components, observers []string
}

// SetProbes sets the probed components and the observers. The series of other components
// and observers are deleted.
func SetProbes(components, observers []string) {
	probes.mu.Lock()
	defer probes.mu.Unlock()
	deleteOthers("component", probes.components, components)
	deleteOthers("observer", probes.observers, observers)
	probes.components, probes.observers = slices.Clone(components), slices.Clone(observers)
}

// deleteOthers deletes the series with a former value of a label.
func deleteOthers(label string, former, kept []string) {
	for _, value := range former {
		if slices.Contains(kept, value) {
			continue
		}
		of := prometheus.Labels{label: value}
		connectTime.DeletePartialMatch(of)
		handshakeTime.DeletePartialMatch(of)
		attempts.DeletePartialMatch(of)
	}
}

// Attempt is one attempt of an observer.
type Attempt struct {
	Component, Observer string
	Result              string
	// Connect and Handshake are the durations, 0 for what was not reached.
	Connect, Handshake time.Duration
}

// RecordAttempt records an attempt to connect to a component.
func RecordAttempt(a Attempt) {
	probes.mu.Lock()
	defer probes.mu.Unlock()
	if !slices.Contains(probes.components, a.Component) || !slices.Contains(probes.observers, a.Observer) {
		return
	}
	result := a.Result
	if !slices.Contains(probeResults, result) {
		result = probeOther
	}
	attempts.WithLabelValues(a.Component, a.Observer, result).Inc()
	if a.Connect > 0 {
		connectTime.WithLabelValues(a.Component, a.Observer).Observe(a.Connect.Seconds())
	}
	if a.Handshake > 0 {
		handshakeTime.WithLabelValues(a.Component, a.Observer).Observe(a.Handshake.Seconds())
	}
}

// Handshake is the latest handshake with a component of a node, from an observer.
type Handshake struct {
	Component, Node, Observer string
	Took                      time.Duration
}

// SetHandshakes sets the latest handshakes with the nodes of a policy. The series of others
// are deleted: of nodes and observers that are gone, and of attempts without handshake.
func SetHandshakes(policy string, handshakes []Handshake) {
	values := make([]gaugeValue, 0, len(handshakes))
	for _, h := range handshakes {
		values = append(values, gaugeValue{[]string{h.Component, h.Node, h.Observer}, h.Took.Seconds()})
	}
	book.replaceGauge(policy, lastHandshake, values)
}
