// SPDX-License-Identifier: Apache-2.0

package policyreport

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/controls"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// Bounds of a report.
const (
	maxResults = 64
	maxMessage = 1024
)

// Keys of the properties of results.
const (
	propertyReason    = "reason"
	propertyControls  = "controls"
	propertyNode      = "node"
	propertyComponent = "component"
	propertyObject    = "object"
	propertyField     = "field"
)

// ruleMore is the rule of the result that says how many findings are left out.
const ruleMore = "more-findings"

// namePrefix begins the name of every report: an admission policy holds the operator to it.
const namePrefix = "cpnp-"

// resultsOf returns the results of a policy: of conditions, findings, and drift. A result
// without an own time gets the time at which the same result was found first; a new result
// gets the present time.
func resultsOf(policy *v1alpha1.ControlPlaneNetworkPolicy, since map[string]metav1.Timestamp, now metav1.Time) []result {
	var results []result
	for _, c := range policy.Status.Conditions {
		if r, is := ofCondition(c); is {
			results = append(results, r)
		}
	}
	slices.SortStableFunc(results, func(a, b result) int { return strings.Compare(a.Rule, b.Rule) })
	findings, left := findingsOf(policy)
	results = append(results, findings...)
	if room := maxResults - 1; len(results) > maxResults || left > 0 && len(results) > room { // one result counts the others
		left += len(results) - room
		results = results[:room]
	}
	if left > 0 {
		results = append(results, result{
			Rule: ruleMore, Category: categoryFinding, Severity: v1alpha1.SeverityInfo, Result: warn,
			Message: fmt.Sprintf("%s left out. See the metrics cpnp_policy_findings and cpnp_finding_info",
				wording.CountOf(left, "further finding")),
		})
	}
	for i := range results {
		r := &results[i]
		r.Source, r.Policy, r.Message = source, policy.Name, wording.OneLine(r.Message, maxMessage)
		if r.Timestamp != (metav1.Timestamp{}) {
			continue
		}
		if found, is := since[r.identity()]; is {
			r.Timestamp = found
		} else {
			r.Timestamp = timestampOf(now)
		}
	}
	return results
}

// findingsOf returns the results of findings and of drift in the status, and how many more
// the status does not list.
func findingsOf(policy *v1alpha1.ControlPlaneNetworkPolicy) (results []result, left int) {
	listsDrift := false
	if posture := policy.Status.Posture; posture != nil {
		for _, f := range posture.Findings {
			results = append(results, ofFinding(f))
			listsDrift = listsDrift || f.Check == controls.CheckDrift
		}
		left = countLeft(posture.FindingCount, len(posture.Findings))
	}
	if listsDrift { // the findings tell of it already
		return results, left
	}
	for _, d := range policy.Status.Drift {
		results = append(results, ofDrift(d))
	}
	// The count is of objects, of which each may differ in several fields.
	objects := map[string]bool{}
	for _, d := range policy.Status.Drift {
		objects[objectOf(d)] = true
	}
	return results, left + countLeft(policy.Status.DriftedObjects, len(objects))
}

func countLeft(all *int32, listed int) int {
	if all == nil {
		return 0
	}
	return max(0, int(*all)-listed)
}

// ofFinding returns the result of a finding. Findings of a low severity change no condition,
// and are not scored.
func ofFinding(f v1alpha1.Finding) result {
	r := result{
		Rule: f.Check, Category: categoryFinding, Severity: f.Severity, Result: fail, Scored: true, Message: f.Message,
		Properties: withoutEmpty(map[string]string{
			propertyNode: f.Node, propertyComponent: f.Component, propertyControls: strings.Join(f.Controls, "; "),
		}),
	}
	if f.Severity == v1alpha1.SeverityLow || f.Severity == v1alpha1.SeverityInfo {
		r.Result, r.Scored = warn, false
	}
	if f.Node != "" {
		r.Subjects = []corev1.ObjectReference{{APIVersion: "v1", Kind: "Node", Name: f.Node}}
	}
	return r
}

// ofDrift returns the result of a difference. In some states no person has to end the
// drift: the object was never as declared, or cannot be.
func ofDrift(d v1alpha1.Drift) result {
	r := result{
		Rule: controls.CheckDrift, Category: categoryDrift, Severity: v1alpha1.SeverityMedium, Result: fail, Scored: true,
		Message:  describeDrift(d),
		Subjects: []corev1.ObjectReference{{Kind: d.Kind, Namespace: d.Namespace, Name: d.Name}},
		Properties: withoutEmpty(map[string]string{
			propertyReason: string(d.State), propertyObject: objectOf(d), propertyField: d.Field,
			propertyControls: strings.Join(controls.Describe(controls.CheckDrift, ""), "; "),
		}),
	}
	switch d.State {
	case v1alpha1.StatePending, v1alpha1.StateForced, v1alpha1.StateNotApplicable:
		r.Severity, r.Result, r.Scored = v1alpha1.SeverityInfo, warn, false
	}
	return r
}

func objectOf(d v1alpha1.Drift) string {
	name := d.Name
	if d.Namespace != "" {
		name = d.Namespace + "/" + name
	}
	return d.Kind + " " + name
}

// describeDrift returns a difference as a sentence.
func describeDrift(d v1alpha1.Drift) string {
	text := objectOf(d)
	if d.Field != "" {
		text += ", field " + d.Field
	}
	text += " is " + strings.ToLower(string(d.Cause))
	if d.Manager != "" {
		text += ", by " + wording.QuoteName(d.Manager)
	}
	if d.Message != "" {
		text += ": " + d.Message
	}
	return text
}

func withoutEmpty(properties map[string]string) map[string]string {
	maps.DeleteFunc(properties, func(_, value string) bool { return value == "" })
	if len(properties) == 0 {
		return nil
	}
	return properties
}

// timestampOf returns a time in the form of reports; nothing for no time.
func timestampOf(at metav1.Time) metav1.Timestamp {
	if at.IsZero() {
		return metav1.Timestamp{}
	}
	return metav1.Timestamp{Seconds: at.Unix()}
}

// render returns the report of a policy, as what the operator applies.
func render(of kind, policy *v1alpha1.ControlPlaneNetworkPolicy, results []result) (*unstructured.Unstructured, error) {
	content := struct {
		Results []result `json:"results"`
		Summary summary  `json:"summary"`
	}{results, countOutcomes(results)}
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&content)
	if err != nil {
		return nil, fmt.Errorf("rendering the report of policy %s: %w", policy.Name, err)
	}
	report := &unstructured.Unstructured{Object: fields}
	if of.hasSource {
		fields["source"] = source
	}
	fields["scope"] = map[string]any{
		"apiVersion": v1alpha1.SchemeGroupVersion.String(), "kind": "ControlPlaneNetworkPolicy", "name": policy.Name, "uid": string(policy.UID),
	}
	report.SetGroupVersionKind(of.GroupVersionKind)
	report.SetName(namePrefix + policy.Name)
	report.SetLabels(map[string]string{v1alpha1.LabelPolicy: policy.Name, "app.kubernetes.io/managed-by": "cpnp-operator"})
	report.SetOwnerReferences([]metav1.OwnerReference{{
		APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "ControlPlaneNetworkPolicy", Name: policy.Name, UID: policy.UID,
	}})
	return report, nil
}
