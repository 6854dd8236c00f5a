// SPDX-License-Identifier: Apache-2.0

package report

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/controls"
	"github.com/cpnp-dev/cpnp-operator/internal/posture"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// maxFindingMessage is the maximum length in bytes of the message of a finding.
const maxFindingMessage = 512

// FindingsOf returns the findings about a policy, the most severe first: about TLS, a backup
// of etcd that is too old, and an ineffective restriction of hosts. Drift has a separate
// list.
func FindingsOf(in Input) []v1alpha1.Finding {
	var findings []v1alpha1.Finding
	if in.TLS != nil {
		findings = slices.Clone(in.TLS.Findings)
	}
	if effective := effectiveCondition(in); effective.Status == metav1.ConditionFalse && restrictsHosts(in.Policy.ControlPlaneNetworkPolicy) {
		findings = append(findings, newFinding(controls.CheckHostsRestricted, v1alpha1.SeverityHigh, "", effective.Message))
	}
	if backup := backupCondition(in); backup.Status == metav1.ConditionFalse {
		findings = append(findings, newFinding(controls.CheckBackupAge, v1alpha1.SeverityMedium, v1alpha1.PostureEtcd, backup.Message))
	}
	slices.SortFunc(findings, posture.CompareFindings)
	return findings
}

func newFinding(check string, severity v1alpha1.Severity, component v1alpha1.PostureComponent, message string) v1alpha1.Finding {
	return v1alpha1.Finding{
		Check: check, Severity: severity, Component: string(component), Message: wording.OneLine(message, maxFindingMessage),
		Controls: controls.Describe(check, string(component)),
	}
}

// restrictsHosts tells whether a policy declares components in the network of their node.
func restrictsHosts(policy *v1alpha1.ControlPlaneNetworkPolicy) bool {
	return policy.Spec.Network != nil && slices.ContainsFunc(policy.Spec.Network.Components, v1alpha1.Component.OnHosts)
}
