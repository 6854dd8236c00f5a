// SPDX-License-Identifier: Apache-2.0

package policyreport

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// digestOf returns a hash of results, without times that depend only on the time of
// rendering.
func digestOf(results []result) string {
	plain := make([]result, 0, len(results))
	for _, r := range results {
		if r.Category != categoryCondition {
			r.Timestamp = metav1.Timestamp{}
		}
		plain = append(plain, r)
	}
	text, err := json.Marshal(plain)
	if err != nil { // strings and numbers alone: cannot fail
		return ""
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// timesOf returns when the results of a report were found, by their identity. A report of
// others, or of another version, may have any content.
func timesOf(report *unstructured.Unstructured) map[string]metav1.Timestamp {
	var content struct {
		Results []result `json:"results"`
	}
	times := map[string]metav1.Timestamp{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(report.Object, &content); err != nil {
		return times
	}
	for _, r := range content.Results[:min(len(content.Results), maxResults)] {
		if r.Timestamp.Seconds > 0 {
			times[r.identity()] = r.Timestamp
		}
	}
	return times
}

// isAsRendered tells whether a report in the cluster has what the operator would write.
func isAsRendered(live, rendered *unstructured.Unstructured) bool {
	for _, field := range []string{"source", "scope", "results", "summary"} {
		if !equality.Semantic.DeepEqual(live.Object[field], rendered.Object[field]) {
			return false
		}
	}
	for key, value := range rendered.GetLabels() {
		if live.GetLabels()[key] != value {
			return false
		}
	}
	return equality.Semantic.DeepEqual(live.GetOwnerReferences(), rendered.GetOwnerReferences())
}
