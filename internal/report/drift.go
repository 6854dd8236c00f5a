// SPDX-License-Identifier: Apache-2.0

package report

import (
	"slices"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// Limits of the strings in a v1alpha1.Drift.
const (
	maxField   = 512
	maxValue   = 256
	maxManager = 128
	maxText    = 512
)

func newDriftEntry(f drift.Finding) v1alpha1.Drift {
	return v1alpha1.Drift{
		Kind:      f.Object.Kind,
		Namespace: f.Object.Namespace,
		Name:      f.Object.Name,
		Field:     wording.OneLine(f.Field, maxField),
		Cause:     f.Cause,
		State:     f.State,
		Expected:  wording.OneLine(f.Expected, maxValue),
		Actual:    wording.OneLine(f.Actual, maxValue),
		Manager:   wording.OneLine(f.By.Name, maxManager),
		Message:   wording.OneLine(f.Message, maxText),
	}
}

// newDriftList returns the first findings: drift and pending writes before fields that
// are only not applicable or forced.
func newDriftList(findings []drift.Finding) []v1alpha1.Drift {
	var list []v1alpha1.Drift
	for _, harmless := range []bool{false, true} {
		for _, f := range findings {
			is := f.State == v1alpha1.StateNotApplicable || f.State == v1alpha1.StateForced
			if len(list) < v1alpha1.MaxReportedDrift && is == harmless {
				list = append(list, newDriftEntry(f))
			}
		}
	}
	return list
}

// isDrift tells whether a finding is drift. A pending write is not.
func isDrift(f drift.Finding) bool {
	switch f.State {
	case v1alpha1.StateDrifted, v1alpha1.StateConflicted, v1alpha1.StateContested:
		return true
	default:
		return false
	}
}

func driftedObjects(findings []drift.Finding) int {
	objects := map[drift.Object]bool{}
	for _, f := range findings {
		if isDrift(f) {
			objects[f.Object] = true
		}
	}
	return len(objects)
}

// mostUrgent returns the findings of the most urgent state, and the reason of the state.
func mostUrgent(findings []drift.Finding) (string, []drift.Finding) {
	order := []struct {
		state  v1alpha1.DriftState
		reason string
	}{
		{v1alpha1.StateContested, v1alpha1.ReasonContested},
		{v1alpha1.StateConflicted, v1alpha1.ReasonConflicted},
		{v1alpha1.StateDrifted, v1alpha1.ReasonDrifted},
		{v1alpha1.StateHeld, v1alpha1.ReasonHeld},
		{v1alpha1.StateEndpointsMissing, v1alpha1.ReasonEndpointsMissing},
		{v1alpha1.StatePending, v1alpha1.ReasonPending},
	}
	for _, o := range order {
		if matching := findingsInState(findings, o.state); len(matching) > 0 {
			return o.reason, matching
		}
	}
	return "", nil
}

// findingsToWrite returns the findings without fields that are as declared already.
func findingsToWrite(findings []drift.Finding) []drift.Finding {
	return slices.DeleteFunc(slices.Clone(findings), func(f drift.Finding) bool { return f.State == v1alpha1.StateEndpointsMissing })
}

func findingsInState(findings []drift.Finding, state v1alpha1.DriftState) []drift.Finding {
	var matching []drift.Finding
	for _, f := range findings {
		if f.State == state {
			matching = append(matching, f)
		}
	}
	return matching
}

// describeFindings names the first findings, counts the rest, and tells how to end a
// contest. The advice is never cut, because the reader needs the advice most.
func describeFindings(findings []drift.Finding) string {
	lines := make([]string, 0, len(findings))
	for _, f := range findings {
		lines = append(lines, f.String())
	}
	advice := adviceFor(findings)
	return wording.Shorten(wording.ListPoints(lines), maxMessage-maxPrefix-len(advice)) + advice
}

// maxPrefix is the maximum length of text before the result of describeFindings.
const maxPrefix = 64

// How to end a contest. For Argo CD the advice holds lines that can be pasted.
const (
	adviseServices = ". Override leads to a contest unless the other manager ignores the field. For Argo CD: in the Application, " +
		"spec.ignoreDifferences: [{kind: Service, managedFieldsManagers: [" + v1alpha1.FieldManagerServices + "]}] and " +
		"spec.syncPolicy.syncOptions: [RespectIgnoreDifferences=true]"
	adviseTaints = ". To end a contest over taints, declare the same taint where spec.taints of the Node is declared, " +
		"or remove spec.taints there"
	adviseOwned = ". To end a contest over an object of the operator, stop the other manager; " +
		"if the object is declared elsewhere, remove it there"
)

// adviceFor tells how to end or avoid the contests in the findings.
func adviceFor(findings []drift.Finding) string {
	var services, taints, owned string
	for _, f := range findings {
		if f.State != v1alpha1.StateContested && f.State != v1alpha1.StateConflicted {
			continue
		}
		switch f.Object.Kind {
		case "Service":
			services = adviseServices
		case "Node":
			taints = adviseTaints
		default:
			owned = adviseOwned
		}
	}
	return services + taints + owned
}
