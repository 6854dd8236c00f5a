// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"slices"

	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/report"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/verify"
)

// ReportInput returns what the assessment tells a report. What is rolled back is reported by
// name, and is no drift.
func (a *Assessment) ReportInput() report.Input {
	diff, hostDiff := a.Diff, a.HostDiff
	if !a.Policy.Claims() {
		diff, hostDiff = drift.Diff{}, drift.Diff{}
	}
	calico := a.Live().Availability()
	return report.Input{
		Policy: a.Policy, Verified: a.Verdict,
		Losses: slices.Concat(a.Network.Losses, a.Hosts.Losses), ForeignNames: slices.Concat(diff.Taken, hostDiff.Taken),
		Remaining: a.Remaining, Profile: a.Hosts.Profile, HostObstacle: a.Hosts.Unprotected,
		Network:       section(diff, len(a.Network.Objects), len(a.Network.Held), a.Written),
		Hosts:         section(hostDiff, len(a.Hosts.Objects), len(a.Hosts.Held), a.Written),
		KeepHostCount: !a.Policy.Claims() || calico.MayHideObjects || calico.Partial,
		Rollout:       a.Rollout, APIServers: a.APIServers,
	}
}

// section counts the declared objects, and collects the remaining findings. Held objects
// cannot be rendered now, but count as declared.
func section(diff drift.Diff, objects, held int, written Written) report.Section {
	section := report.Section{Declared: objects + held, InSync: objects - len(diff.Taken)}
	for _, w := range slices.Concat(diff.Writes, diff.Removals) {
		if written[w.Object] {
			continue
		}
		section.Findings = append(section.Findings, w.Findings...)
		if w.Desired != nil {
			section.InSync--
		}
	}
	return section
}

// Effective tells whether the restrictions are effective: on the pods of components, of
// which the host-networked ones are given, and on hosts.
func (a *Assessment) Effective(pods []*state.HostPod) verify.Verdict {
	verdict := verify.PodsEffective(a.Policy, pods)
	if verdict.Holds {
		verdict = verify.NetworkPoliciesEnforced(a.Policy, a.Network.Enforcement, verdict)
	}
	if (verdict.Holds || verdict.Unknown) && a.Hosts.Declared && a.Hosts.Unprotected == nil && len(a.Hosts.Held) == 0 {
		verdict = verify.WorseOf(verdict, a.effectiveOnHosts())
	}
	return verdict
}

// effectiveOnHosts tells whether the restrictions on nodes are effective. If required flows
// cannot be judged, the verdict is unknown.
func (a *Assessment) effectiveOnHosts() verify.Verdict {
	verdict := a.Judge.HostsEffective(a.Hosts, a.Live())
	if verdict.Holds && a.Doubt != "" {
		return verify.Verdict{
			Unknown: true, Reason: v1alpha1.ReasonNotJudged, Message: "It cannot be judged what the restrictions do: " + a.Doubt,
		}
	}
	return verdict
}

// ComponentNamespaces returns the namespaces of the policy's components that are pods.
func ComponentNamespaces(policy *plan.Policy) sets.Set[string] {
	namespaces := sets.New[string]()
	if policy.Spec.Network != nil {
		for _, component := range policy.Spec.Network.Components {
			if !component.OnHosts() {
				namespaces.Insert(component.Pods.Namespace)
			}
		}
	}
	return namespaces
}
