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
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// Owned compares an object of the operator's with what it should be; live is
// nil if it is not there. inPlace says that it was there before for the present
// generation, so that it was deleted if it is missing.
func Owned(policy *plan.Policy, desired, live plan.Object, inPlace bool) []Finding {
	base := Finding{Policy: policy.Name, Object: ObjectOf(desired), State: v1alpha1.StateDrifted}
	audit := policy.Spec.Mode == v1alpha1.ModeAudit
	if live == nil {
		base.Cause = v1alpha1.CauseMissing
		if !audit && !inPlace {
			base.State = v1alpha1.StatePending
		}
		return []Finding{base}
	}
	findings := compareObjects(base, desired, live)
	if plan.Shared(desired) {
		return respectOwner(findings, live, audit)
	}
	if len(findings) > 0 && !audit && !rendered(desired, live) {
		base.Cause, base.State, base.Message = v1alpha1.CauseModified, v1alpha1.StatePending, "is to be updated"
		return []Finding{base}
	}
	return findings
}

// Left returns what differs between an object as it was written and as the API
// server says that it is then. A server-side apply does not take away what another
// manager holds besides, such as an item of a set, and what is admitted may be
// changed on its way.
func Left(desired, answer plan.Object) []Finding {
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

// respectOwner marks what somebody else has decided about an object that is not
// ours alone: what was never written by us, or what is declared otherwise. Such
// an object has no stamp; what nobody but us has written to is as it was
// declared before.
func respectOwner(findings []Finding, live plan.Object, audit bool) []Finding {
	for i := range findings {
		f := &findings[i]
		switch there := f.Actual != ""; {
		case !there && !plan.Written(live) && !audit:
			f.State = v1alpha1.StatePending // we have not been here before
		case !there:
		case f.By.Declares || f.By.Tool != "" || declaresField(live, f.Field) || !plan.Written(live):
			f.State, f.Message = v1alpha1.StateConflicted, "is set by somebody else: remove it there, or set spec.network.failsafe to Keep"
		case f.By.Name == "" && !audit:
			f.State, f.Message = v1alpha1.StatePending, "is to be updated"
		}
	}
	return findings
}

// declaresField says whether a field of the spec is declared in what a client-side
// apply left on the object.
func declaresField(live plan.Object, field string) bool {
	spec, _ := state.LastApplied(live.GetAnnotations())
	_, declared := spec[strings.TrimPrefix(field, "spec.")]
	return declared
}

// unexpected returns the finding that an object of ours is there that the policy
// does not call for any more.
func unexpected(policy *plan.Policy, object Object) Finding {
	finding := Finding{
		Policy: policy.Name, Object: object, Cause: v1alpha1.CauseUnexpected, State: v1alpha1.StatePending, Actual: object.Kind,
	}
	if policy.Spec.Mode == v1alpha1.ModeAudit && policy.Claims() { // else the operator takes it away itself
		finding.State = v1alpha1.StateDrifted
	}
	return finding
}

// rendered says whether live was last written as what is desired now and by
// this version of the rendering, so that others changed whatever differs. A
// stamp that is not ours any more was itself changed by others, and proves
// nothing.
func rendered(desired, live plan.Object) bool {
	stamps := []string{v1alpha1.AnnotationDesiredHash, v1alpha1.AnnotationRendererVersion}
	is, want := live.GetAnnotations(), desired.GetAnnotations()
	return !slices.ContainsFunc(stamps, func(key string) bool {
		return is[key] != want[key] && Holds(live.GetManagedFields(), v1alpha1.FieldManagerNetwork, "metadata", "annotations", key)
	})
}

// mapFindings compares our labels or annotations; those of others are theirs.
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

// foreignLabels finds labels that others added and that have a meaning for us: they
// decide which rules an object is selected by. All other labels of others are theirs.
func foreignLabels(base Finding, desired, live plan.Object) []Finding {
	if plan.Shared(desired) {
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

// specFindings compares the fields of the spec, each of which is written as a whole.
func specFindings(base Finding, desired, live plan.Object) []Finding {
	if sameSpec(desired, live) {
		return nil
	}
	if state.ReducedSpecHash(live.GetAnnotations()) != "" {
		base.Field, base.Cause = "spec", v1alpha1.CauseModified
		base.Expected, base.Actual = "what is declared", "another one, too large to be kept in memory"
		return []Finding{base}
	}
	want, errWant := plan.Fields(desired)
	is, errIs := plan.Fields(live)
	if errWant != nil || errIs != nil {
		return nil // types of ours and of Kubernetes can always be written as JSON
	}
	names := maps.Clone(want)
	maps.Copy(names, is)
	var findings []Finding
	for _, name := range slices.Sorted(maps.Keys(names)) {
		expected, declared := want[name]
		actual, there := is[name]
		if same(expected, actual) {
			continue
		}
		finding := base
		finding.Field, finding.Cause = "spec."+name, v1alpha1.CauseModified
		finding.By = whoAdded(live, added(expected, actual), "spec", name)
		if declared {
			finding.Expected = text(expected)
		} else {
			finding.Cause = v1alpha1.CauseUnexpected
		}
		if there {
			finding.Actual = text(actual)
		} else {
			finding.Cause = v1alpha1.CauseMissing
		}
		findings = append(findings, finding)
	}
	return findings
}

// same compares two values of a field. A list of texts is a set, whether or not the
// API says so: the order in which a server keeps its items is not ours to choose.
func same(a, b any) bool {
	x, isList := texts(a)
	y, alsoList := texts(b)
	if isList && alsoList {
		return slices.Equal(x, y)
	}
	return equality.Semantic.DeepEqual(a, b)
}

// texts returns the items of a list of texts, sorted and each of them once.
func texts(value any) (items []string, is bool) {
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

// added returns the items of a list that are not expected in it.
func added(expected, actual any) []any {
	wanted, _ := expected.([]any)
	there, _ := actual.([]any)
	return slices.DeleteFunc(slices.Clone(there), func(item any) bool {
		return slices.ContainsFunc(wanted, func(other any) bool { return equality.Semantic.DeepEqual(item, other) })
	})
}

// sameSpec compares the stored form of NetworkPolicies, of which there may be
// many, which is many times faster than looking at every field, and nearly
// always enough: most objects are as declared. It is no proof that they differ.
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
	return among(live, Who(live.GetManagedFields(), v1alpha1.FieldManagerNetwork, path...))
}

func whoAdded(live plan.Object, items []any, path ...any) Manager {
	return among(live, WhoAdded(live.GetManagedFields(), v1alpha1.FieldManagerNetwork, items, path...))
}

// among returns a manager as one of an object that is ours: nobody else can declare
// it. In one that we share, others can.
func among(live plan.Object, who Manager) Manager {
	who.Tool = toolOf(who.Name, live.GetManagedFields())
	who.Declares = who.Declares && plan.Shared(live)
	return who
}

func text(value any) string {
	out, err := json.Marshal(value)
	if err != nil {
		return err.Error()
	}
	return string(out)
}
