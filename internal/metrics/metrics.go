// SPDX-License-Identifier: Apache-2.0

// Package metrics holds the operator's own metrics. Their labels are names of
// policies and kinds, never of single objects, so that their number is bounded
// by the number of policies.
package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
)

var (
	detected = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "cpnp_drift_detected_total",
		Help: "Fields, or whole objects, that were found to differ from what is declared after they had been as declared.",
	}, []string{"policy", "kind", "cause"})

	corrected = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "cpnp_drift_corrected_total",
		Help: "Drifted fields, or whole objects, that were put right.",
	}, []string{"policy", "kind"})

	managed = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "cpnp_managed_objects",
		Help: "What a policy calls for: NetworkPolicies, taints over all nodes, and Services.",
	}, []string{"policy", "kind"})

	released = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "cpnp_released_total",
		Help: "Fields that were released because no policy declares them any more.",
	}, []string{"policy", "kind"})

	applyErrors = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "cpnp_apply_errors_total",
		Help: "Writes that the API server refused or did not answer, by the reason it gave. Conflicts are not errors.",
	}, []string{"policy", "kind", "reason"})
)

func init() {
	metrics.Registry.MustRegister(detected, corrected, managed, released, applyErrors)
}

// reasons are those that API servers give. Webhooks, and API servers of others, may give
// any: each would be a series of its own.
var reasons = map[string]bool{
	string(metav1.StatusReasonUnauthorized): true, string(metav1.StatusReasonForbidden): true, string(metav1.StatusReasonNotFound): true,
	string(metav1.StatusReasonAlreadyExists): true, string(metav1.StatusReasonConflict): true, string(metav1.StatusReasonGone): true,
	string(metav1.StatusReasonInvalid): true, string(metav1.StatusReasonServerTimeout): true, string(metav1.StatusReasonTimeout): true,
	string(metav1.StatusReasonTooManyRequests): true, string(metav1.StatusReasonBadRequest): true,
	string(metav1.StatusReasonMethodNotAllowed): true, string(metav1.StatusReasonNotAcceptable): true,
	string(metav1.StatusReasonRequestEntityTooLarge): true, string(metav1.StatusReasonUnsupportedMediaType): true,
	string(metav1.StatusReasonInternalError): true, string(metav1.StatusReasonExpired): true,
	string(metav1.StatusReasonServiceUnavailable): true, ReasonIncomplete: true, ReasonUnknown: true,
}

// Reasons of failures for which the API server gives none.
const (
	ReasonIncomplete = "Incomplete"
	ReasonUnknown    = "Unknown"
	reasonOther      = "Other"
)

// Detected counts drift that was not seen before.
func Detected(findings []drift.Finding) {
	for _, f := range findings {
		if book.has(f.Policy, detected.MetricVec, f.Object.Kind, string(f.Cause)) {
			detected.WithLabelValues(f.Policy, f.Object.Kind, string(f.Cause)).Inc()
		}
	}
}

// Corrected counts drift that was put right.
func Corrected(findings []drift.Finding) {
	for _, f := range findings {
		if f.State == v1alpha1.StateDrifted && book.has(f.Policy, corrected.MetricVec, f.Object.Kind) {
			corrected.WithLabelValues(f.Policy, f.Object.Kind).Inc()
		}
	}
}

// Released counts fields that were released.
func Released(findings []drift.Finding) {
	for _, f := range findings {
		if book.has(f.Policy, released.MetricVec, f.Object.Kind) {
			released.WithLabelValues(f.Policy, f.Object.Kind).Inc()
		}
	}
}

// ApplyError counts a write that failed.
func ApplyError(policies []string, kind, reason string) {
	if !reasons[reason] {
		reason = reasonOther
	}
	for _, policy := range policies {
		if book.has(policy, applyErrors.MetricVec, kind, reason) {
			applyErrors.WithLabelValues(policy, kind, reason).Inc()
		}
	}
}

// Managed sets how many objects of a kind the policy calls for.
func Managed(policy, kind string, count int) {
	if book.has(policy, managed.MetricVec, kind) {
		managed.WithLabelValues(policy, kind).Set(float64(count))
	}
}
