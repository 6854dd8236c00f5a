// SPDX-License-Identifier: Apache-2.0

// Package policyreport writes the content of a policy's status into a report object, for
// tools that show such reports: a ClusterReport of OpenReports (openreports.io/v1alpha1) if
// the cluster serves the kind, and otherwise a ClusterPolicyReport
// (wgpolicyk8s.io/v1alpha2). The report is named cpnp-<policy>, and belongs to the policy.
//
// Reports are off unless the operator is started with --reports. Rendering is pure; Writer
// has the I/O.
package policyreport
