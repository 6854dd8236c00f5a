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
		Field:     wording.Line(f.Field, maxField),
		Cause:     f.Cause,
		State:     f.State,
		Expected:  wording.Line(f.Expected, maxValue),
		Actual:    wording.Line(f.Actual, maxValue),
		Manager:   wording.Line(f.By.Name, maxManager),
		Message:   wording.Line(f.Message, maxText),
	}
}

// driftList returns the first differences: what is wrong before what is only
// not applicable, or forced.
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

// isDrift says whether the finding is drift, rather than work still to be done.
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

// worst returns the findings of the state that matters most, and the reason
// that stands for it.
func mostUrgent(findings []drift.Finding) (string, []drift.Finding) {
	order := []struct {
		state  v1alpha1.DriftState
		reason string
	}{
		{v1alpha1.StateContested, v1alpha1.ReasonContested},
		{v1alpha1.StateConflicted, v1alpha1.ReasonConflicted},
		{v1alpha1.StateDrifted, v1alpha1.ReasonDrifted},
		{v1alpha1.StateHeldBack, v1alpha1.ReasonHeldBack},
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

// unwritten returns the findings without those whose field is as declared.
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

// tell names the first findings and counts the rest, and says what ends a fight:
// that is what the reader needs, so it is never what is cut.
func describeFindings(findings []drift.Finding) string {
	lines := make([]string, 0, len(findings))
	for _, f := range findings {
		lines = append(lines, f.String())
	}
	advice := adviceFor(findings)
	return wording.Shorten(wording.Points(lines), maxMessage-maxPrefix-len(advice)) + advice
}

// maxPrefix is how much may come before what tell returns.
const maxPrefix = 64

// What ends a fight. Argo CD is told by the lines that it takes.
const (
	adviseServices = ". Override starts a fight unless the other side ignores the field. For Argo CD: in the Application, " +
		"spec.ignoreDifferences: [{kind: Service, managedFieldsManagers: [" + v1alpha1.FieldManagerServices + "]}] and " +
		"spec.syncPolicy.syncOptions: [RespectIgnoreDifferences=true]"
	adviseTaints = ". To end a fight over taints, declare the same taint where spec.taints is declared, or take spec.taints out there"
	adviseOwned  = ". To end a fight over an object of the operator, make who rewrites it stop; if it is declared elsewhere, take it out there"
)

// advise says what ends the fights that there are, or would begin.
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
