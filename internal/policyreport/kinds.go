// SPDX-License-Identifier: Apache-2.0

package policyreport

import "k8s.io/apimachinery/pkg/runtime/schema"

// kind is a kind of report.
type kind struct {
	schema.GroupVersionKind
	// hasSource tells that a report names the source, as its results do.
	hasSource bool
}

// kinds are the kinds of reports, the preferred one first.
var kinds = []kind{
	{schema.GroupVersionKind{Group: "openreports.io", Version: "v1alpha1", Kind: "ClusterReport"}, true},
	{schema.GroupVersionKind{Group: "wgpolicyk8s.io", Version: "v1alpha2", Kind: "ClusterPolicyReport"}, false},
}
