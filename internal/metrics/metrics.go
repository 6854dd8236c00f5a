// SPDX-License-Identifier: Apache-2.0

// Package metrics holds the metrics of the operator. The labels are names of policies,
// kinds, components, observers and control-plane nodes, and words of bounded lists: the
// number of nodes, Services and addresses of a cluster has no influence on the number of
// series. The series of a policy are deleted with the policy.
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
		Help: "Fields, or whole objects, that drifted from the declared state, by the manager that wrote the field.",
	}, []string{"policy", "kind", "cause", "manager"})

	corrected = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "cpnp_drift_corrected_total",
		Help: "Drifted fields, or whole objects, that were repaired.",
	}, []string{"policy", "kind"})

	managed = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "cpnp_managed_objects",
		Help: "Objects that a policy calls for: NetworkPolicies, taints on all nodes, and Services.",
	}, []string{"policy", "kind"})

	released = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "cpnp_released_total",
		Help: "Fields that were released because no policy declares the field any more.",
	}, []string{"policy", "kind"})

	applyErrors = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "cpnp_apply_errors_total",
		Help: "Writes that the API server refused or did not answer, by the reason that the API server gave. Conflicts are not errors.",
	}, []string{"policy", "kind", "reason"})
)

func init() {
	metrics.Registry.MustRegister(detected, corrected, managed, released, applyErrors)
}

// reasons are the reasons that API servers give. Webhooks and foreign API servers may
// give any reason, and every further reason would be a series.
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

// Reasons of failures for which the API server gives no reason.
const (
	ReasonIncomplete = "Incomplete"
	ReasonUnknown    = "Unknown"
	reasonOther      = "Other"
)

// CountDetected counts drift that was not seen before.
func CountDetected(findings []drift.Finding) {
	for _, f := range findings {
		manager := managerLabel(f.By.Name)
		if book.noteSeries(f.Policy, detected.MetricVec, f.Object.Kind, string(f.Cause), manager) {
			detected.WithLabelValues(f.Policy, f.Object.Kind, string(f.Cause), manager).Inc()
		}
	}
}

// CountCorrected counts repaired drift.
func CountCorrected(findings []drift.Finding) {
	for _, f := range findings {
		if f.State == v1alpha1.StateDrifted && book.noteSeries(f.Policy, corrected.MetricVec, f.Object.Kind) {
			corrected.WithLabelValues(f.Policy, f.Object.Kind).Inc()
		}
	}
}

// CountReleased counts fields that were released.
func CountReleased(findings []drift.Finding) {
	for _, f := range findings {
		if book.noteSeries(f.Policy, released.MetricVec, f.Object.Kind) {
			released.WithLabelValues(f.Policy, f.Object.Kind).Inc()
		}
	}
}

// CountApplyError counts a failed write.
func CountApplyError(policies []string, kind, reason string) {
	if !reasons[reason] {
		reason = reasonOther
	}
	for _, policy := range policies {
		if book.noteSeries(policy, applyErrors.MetricVec, kind, reason) {
			applyErrors.WithLabelValues(policy, kind, reason).Inc()
		}
	}
}

// SetManaged sets how many objects of a kind the policy calls for.
func SetManaged(policy, kind string, count int) {
	if book.noteSeries(policy, managed.MetricVec, kind) {
		managed.WithLabelValues(policy, kind).Set(float64(count))
	}
}
