// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// CompareOwned compares a managed object with its desired content; live is nil if the object is
// missing. inPlace tells that the object existed before in the present generation of the
// policy, so a missing object must have been deleted.
func CompareOwned(policy *plan.Policy, desired, live plan.Object, inPlace bool) []Finding {
	base := Finding{Policy: policy.Name, Object: ObjectOf(desired), State: v1alpha1.StateDrifted, Unrepaired: !policy.Enforces()}
	audit := policy.Spec.Mode == v1alpha1.ModeAudit
	if live == nil {
		base.Cause = v1alpha1.CauseMissing
		if !audit && !inPlace {
			base.State = v1alpha1.StatePending
		}
		return []Finding{base}
	}
	findings := compareObjects(base, desired, live)
	if plan.IsShared(desired) {
		return respectOwner(findings, live, audit)
	}
	if len(findings) > 0 && !audit && !hasDesiredStamp(desired, live) {
		base.Cause, base.State, base.Message = v1alpha1.CauseModified, v1alpha1.StatePending, "is to be updated"
		return []Finding{base}
	}
	return findings
}

// RemainingDifferences returns the remaining differences between a written object and the API server's
// answer. Differences remain because a server-side apply does not remove another manager's
// part, such as an item of a set, and because admission may change the object.
func RemainingDifferences(desired, answer plan.Object) []Finding {
	return compareObjects(Finding{Object: ObjectOf(desired)}, desired, answer)
}

func compareObjects(base Finding, desired, live plan.Object) []Finding {
	return slices.Concat(
		mapFindings(base, "labels", desired.GetLabels(), live.GetLabels(), live),
		foreignLabels(base, desired, live),
		mapFindings(base, "annotations", desired.GetAnnotations(), live.GetAnnotations(), live),
		specFindings(base, desired, live),
	)
}

// respectOwner marks foreign decisions about a shared object: a value never written by the
// operator, or declared by another manager. A shared object has no stamp, so a value
// without another manager counts as an earlier declaration of the operator.
func respectOwner(findings []Finding, live plan.Object, audit bool) []Finding {
	for i := range findings {
		f := &findings[i]
		switch there := f.Actual != ""; {
		case !there && !backend.IsWrittenByOperator(live) && !audit:
			f.State = v1alpha1.StatePending // the operator has not written here before
		case !there:
		case f.By.Declares || f.By.Tool != "" || declaresField(live, f.Field) || !backend.IsWrittenByOperator(live):
			f.State, f.Message = v1alpha1.StateConflicted, "is set by another manager: remove the field there, or set spec.network.failsafe to Keep"
		case f.By.Name == "" && !audit:
			f.State, f.Message = v1alpha1.StatePending, "is to be updated"
		}
	}
	return findings
}

// declaresField tells whether a client-side apply, recorded on the object, declares the
// field of the spec.
func declaresField(live plan.Object, field string) bool {
	spec, _ := state.LastApplied(live.GetAnnotations())
	_, declared := spec[strings.TrimPrefix(field, "spec.")]
	return declared
}

// unexpectedFinding returns the finding for a managed object that the policy does not call for any
// more.
func unexpectedFinding(policy *plan.Policy, object Object) Finding {
	finding := Finding{
		Policy: policy.Name, Object: object, Cause: v1alpha1.CauseUnexpected, State: v1alpha1.StatePending, Actual: object.Kind,
	}
	// otherwise the operator itself deletes the object
	if policy.Spec.Mode == v1alpha1.ModeAudit && policy.Claims() {
		finding.State = v1alpha1.StateDrifted
	}
	return finding
}

// hasDesiredStamp tells whether the live object was last written with the desired content and
// by the present renderer. All differences then come from other writers. A stamp changed by
// another writer is no proof and is not compared.
func hasDesiredStamp(desired, live plan.Object) bool {
	stamps := []string{v1alpha1.AnnotationDesiredHash, v1alpha1.AnnotationRendererVersion}
	is, want := live.GetAnnotations(), desired.GetAnnotations()
	return !slices.ContainsFunc(stamps, func(key string) bool {
		return is[key] != want[key] && HoldsField(live.GetManagedFields(), v1alpha1.FieldManagerNetwork, "metadata", "annotations", key)
	})
}

// mapFindings compares managed labels or annotations; foreign keys are ignored.
func mapFindings(base Finding, field string, desired, actual map[string]string, live plan.Object) []Finding {
	var findings []Finding
	for _, key := range slices.Sorted(maps.Keys(desired)) {
		value, there := actual[key]
		if there && value == desired[key] {
			continue
		}
		finding := base
		finding.Field, finding.Expected, finding.Actual = "metadata."+field+"["+key+"]", desired[key], value
		finding.Cause = v1alpha1.CauseModified
		if !there {
			finding.Cause = v1alpha1.CauseMissing
		}
		finding.By = whoWrote(live, "metadata", field, key)
		findings = append(findings, finding)
	}
	return findings
}

// foreignLabels finds added labels with the operator's prefix, because such labels decide
// which rules select an object. All other foreign labels are ignored.
func foreignLabels(base Finding, desired, live plan.Object) []Finding {
	if plan.IsShared(desired) {
		return nil
	}
	var findings []Finding
	labels := live.GetLabels()
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if _, wanted := desired.GetLabels()[key]; wanted || !plan.OwnLabel(key) {
			continue
		}
		finding := base
		finding.Field, finding.Actual, finding.Cause = "metadata.labels["+key+"]", labels[key], v1alpha1.CauseUnexpected
		finding.By = whoWrote(live, "metadata", "labels", key)
		findings = append(findings, finding)
	}
	return findings
}

// specFindings compares the fields of the spec. The operator writes each field as a whole.
func specFindings(base Finding, desired, live plan.Object) []Finding {
	if sameSpec(desired, live) {
		return nil
	}
	if state.ReducedSpecHash(live.GetAnnotations()) != "" {
		base.Field, base.Cause = "spec", v1alpha1.CauseModified
		base.Expected, base.Actual = "what is declared", "another one, too large to be kept in memory"
		return []Finding{base}
	}
	want, errWant := plan.SpecFields(desired)
	is, errIs := plan.SpecFields(live)
	if errWant != nil || errIs != nil {
		return nil // the operator's and Kubernetes' types always convert to JSON
	}
	names := maps.Clone(want)
	maps.Copy(names, is)
	var findings []Finding
	for _, name := range slices.Sorted(maps.Keys(names)) {
		expected, declared := want[name]
		actual, there := is[name]
		if sameValue(expected, actual) {
			continue
		}
		finding := base
		finding.Field, finding.Cause = "spec."+name, v1alpha1.CauseModified
		finding.By = whoAdded(live, addedItems(expected, actual), "spec", name)
		if declared {
			finding.Expected = jsonText(expected)
		} else {
			finding.Cause = v1alpha1.CauseUnexpected
		}
		if there {
			finding.Actual = jsonText(actual)
		} else {
			finding.Cause = v1alpha1.CauseMissing
		}
		findings = append(findings, finding)
	}
	return findings
}

// sameValue compares two values of a field. A list of strings is compared as a set, even if the
// API declares a list, because a server may keep the items in any order.
func sameValue(a, b any) bool {
	x, isList := sortedTexts(a)
	y, alsoList := sortedTexts(b)
	if isList && alsoList {
		return slices.Equal(x, y)
	}
	return equality.Semantic.DeepEqual(a, b)
}

// sortedTexts returns the sorted, distinct items of a list of strings.
func sortedTexts(value any) (items []string, is bool) {
	list, is := value.([]any)
	for _, item := range list {
		text, isText := item.(string)
		if !isText {
			return nil, false
		}
		items = append(items, text)
	}
	slices.Sort(items)
	return slices.Compact(items), is
}

// addedItems returns the unexpected items of a list.
func addedItems(expected, actual any) []any {
	wanted, _ := expected.([]any)
	there, _ := actual.([]any)
	return slices.DeleteFunc(slices.Clone(there), func(item any) bool {
		return slices.ContainsFunc(wanted, func(other any) bool { return equality.Semantic.DeepEqual(item, other) })
	})
}

// sameSpec compares the stored form of NetworkPolicies. The comparison is many times faster
// than comparing every field, and nearly always enough, because there may be many
// NetworkPolicies and most are as declared. Different stored forms do not prove different
// specs.
func sameSpec(desired, live plan.Object) bool {
	a, ok := desired.(*networkingv1.NetworkPolicy)
	b, same := live.(*networkingv1.NetworkPolicy)
	if !ok || !same {
		return false
	}
	if hash := state.ReducedSpecHash(b.Annotations); hash != "" {
		return hash == state.SpecHash(&a.Spec)
	}
	x, errX := a.Spec.Marshal()
	y, errY := b.Spec.Marshal()
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

func whoWrote(live plan.Object, path ...any) Manager {
	return completeManager(live, ManagerOf(live.GetManagedFields(), v1alpha1.FieldManagerNetwork, path...))
}

func whoAdded(live plan.Object, items []any, path ...any) Manager {
	return completeManager(live, ManagerOfAdded(live.GetManagedFields(), v1alpha1.FieldManagerNetwork, items, path...))
}

// completeManager completes a manager of the object. Only a shared object can be declared by another
// manager; a managed object belongs to the operator alone.
func completeManager(live plan.Object, who Manager) Manager {
	who.Tool = toolOf(who.Name, live.GetManagedFields())
	who.Declares = who.Declares && plan.IsShared(live)
	return who
}

func jsonText(value any) string {
	out, err := json.Marshal(value)
	if err != nil {
		return err.Error()
	}
	return string(out)
}
