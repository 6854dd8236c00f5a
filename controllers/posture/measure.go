// SPDX-License-Identifier: Apache-2.0

package posture

import (
	"time"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/metrics"
	"github.com/cpnp-dev/cpnp-operator/internal/posture"
)

// measure returns an attempt as metrics count it.
func measure(a posture.Attempt) metrics.Attempt {
	return metrics.Attempt{
		Component: string(a.Component), Observer: a.Observer, Result: resultOf(a.Result),
		Connect:   time.Duration(a.Result.ConnectMicroseconds) * time.Microsecond,
		Handshake: time.Duration(a.Result.HandshakeMicroseconds) * time.Microsecond,
	}
}

func resultOf(r v1alpha1.TLSResult) string {
	switch r.Outcome {
	case v1alpha1.TLSOpen:
		if r.HandshakeMicroseconds > 0 {
			return metrics.ProbeHandshake
		}
		return metrics.ProbeHandshakeFailed
	case v1alpha1.TLSNotTLS:
		if r.Plaintext == v1alpha1.PlaintextAnswered {
			return metrics.ProbePlaintext
		}
		return metrics.ProbeHandshakeFailed
	case v1alpha1.TLSSilent:
		return metrics.ProbeSilent
	case v1alpha1.TLSRefused:
		return metrics.ProbeRefused
	case v1alpha1.TLSDropped:
		return metrics.ProbeDropped
	case v1alpha1.TLSUnreachable:
		return metrics.ProbeUnreachable
	case v1alpha1.TLSNotFinished:
	}
	return string(r.Outcome)
}

// tellHandshakes sets how long the latest handshakes with the nodes of a policy took.
func tellHandshakes(policy string, postures []v1alpha1.ControlPlaneNodePosture, now time.Time) {
	var handshakes []metrics.Handshake
	for _, h := range posture.HandshakesOf(postures, now) {
		handshakes = append(handshakes, metrics.Handshake{Component: string(h.Component), Node: h.Node, Observer: h.Observer, Took: h.Took})
	}
	metrics.SetHandshakes(policy, handshakes)
}
