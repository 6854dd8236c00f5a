// SPDX-License-Identifier: Apache-2.0

package policyreport

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// The outcomes of a result, in the words of both kinds of reports.
const (
	pass = "pass"
	fail = "fail"
	// warn: not as it should be, and not scored.
	warn = "warn"
	// failed is called error in reports: it could not be decided.
	failed = "error"
	// skip: not asked for.
	skip = "skip"
)

// The categories of results.
const (
	categoryCondition = "Condition"
	categoryFinding   = "Finding"
	categoryDrift     = "Drift"
)

// source names the operator in reports.
const source = "cpnp"

// result is one result of a report. The fields have the names of both kinds of reports.
type result struct {
	Source     string                   `json:"source"`
	Policy     string                   `json:"policy"`
	Rule       string                   `json:"rule"`
	Category   string                   `json:"category"`
	Severity   v1alpha1.Severity        `json:"severity,omitempty"`
	Timestamp  metav1.Timestamp         `json:"timestamp"`
	Result     string                   `json:"result"`
	Scored     bool                     `json:"scored,omitempty"`
	Subjects   []corev1.ObjectReference `json:"resources,omitempty"`
	Message    string                   `json:"message,omitempty"`
	Properties map[string]string        `json:"properties,omitempty"`
}

// summary counts results by outcome.
type summary struct {
	Pass  int `json:"pass"`
	Fail  int `json:"fail"`
	Warn  int `json:"warn"`
	Error int `json:"error"`
	Skip  int `json:"skip"`
}

func countOutcomes(results []result) (s summary) {
	for _, r := range results {
		switch r.Result {
		case pass:
			s.Pass++
		case fail:
			s.Fail++
		case warn:
			s.Warn++
		case failed:
			s.Error++
		default:
			s.Skip++
		}
	}
	return s
}

// identity tells results apart. The message is no part of it: "expires in 9 days" becomes
// "expires in 8 days", and is still the same finding.
func (r result) identity() string {
	id := r.Category + "/" + r.Rule
	for _, property := range []string{propertyNode, propertyComponent, propertyObject, propertyField} {
		id += "/" + r.Properties[property]
	}
	return id
}
