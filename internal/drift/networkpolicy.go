// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
)

// NetworkPolicy compares a NetworkPolicy with what it should be; live is nil if
// it is not there. inPlace says that it was there before for
// the present generation, so that it was deleted if it is missing.
func NetworkPolicy(policy *plan.Policy, desired, live *networkingv1.NetworkPolicy, inPlace bool) []Finding {
	base := Finding{
		Policy: policy.Name,
		Object: Object{Kind: "NetworkPolicy", Namespace: desired.Namespace, Name: desired.Name},
		State:  v1alpha1.StateDrifted,
	}
	audit := policy.Spec.Mode == v1alpha1.ModeAudit
	if live == nil {
		base.Cause = v1alpha1.CauseMissing
		if !audit && !inPlace {
			base.State = v1alpha1.StatePending
		}
		return []Finding{base}
	}
	findings := slices.Concat(
		mapFindings(base, "labels", desired.Labels, live.Labels, live),
		mapFindings(base, "annotations", desired.Annotations, live.Annotations, live),
		specFindings(base, desired, live),
	)
	if len(findings) > 0 && !audit && !rendered(desired, live) {
		base.Cause, base.State, base.Message = v1alpha1.CauseModified, v1alpha1.StatePending, "is to be updated"
		return []Finding{base}
	}
	return findings
}

// Unexpected returns the finding that a NetworkPolicy of ours is there for a
// component that the policy does not have any more.
func Unexpected(policy *plan.Policy, live *networkingv1.NetworkPolicy) Finding {
	finding := Finding{
		Policy: policy.Name,
		Object: Object{Kind: "NetworkPolicy", Namespace: live.Namespace, Name: live.Name},
		Cause:  v1alpha1.CauseUnexpected,
		State:  v1alpha1.StatePending,
		Actual: "NetworkPolicy",
	}
	if policy.Spec.Mode == v1alpha1.ModeAudit {
		finding.State = v1alpha1.StateDrifted
	}
	return finding
}

// rendered says whether live was last written as what is desired now and by
// this version of the rendering, so that others changed whatever differs. A
// stamp that is not ours any more was itself changed by others, and proves
// nothing.
func rendered(desired, live *networkingv1.NetworkPolicy) bool {
	stamps := []string{v1alpha1.AnnotationDesiredHash, v1alpha1.AnnotationRendererVersion}
	return !slices.ContainsFunc(stamps, func(key string) bool {
		return live.Annotations[key] != desired.Annotations[key] &&
			Owned(live.ManagedFields, v1alpha1.FieldManagerNetwork, "metadata", "annotations", key)
	})
}

// mapFindings compares our labels or annotations; those of others are theirs.
func mapFindings(base Finding, field string, desired, actual map[string]string, live *networkingv1.NetworkPolicy) []Finding {
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

// specFindings compares the fields of the spec, each of which is atomic.
func specFindings(base Finding, desired, live *networkingv1.NetworkPolicy) []Finding {
	if sameSpec(&desired.Spec, &live.Spec) {
		return nil
	}
	var findings []Finding
	compare := func(field string, desired, actual any, declared, there bool) {
		if equality.Semantic.DeepEqual(desired, actual) {
			return
		}
		finding := base
		finding.Field, finding.Cause = "spec."+field, v1alpha1.CauseModified
		finding.By = whoWrote(live, "spec", field)
		if declared {
			finding.Expected = text(desired)
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
	want, is := desired.Spec, live.Spec
	compare("egress", want.Egress, is.Egress, len(want.Egress) > 0, len(is.Egress) > 0)
	compare("ingress", want.Ingress, is.Ingress, len(want.Ingress) > 0, len(is.Ingress) > 0)
	compare("podSelector", want.PodSelector, is.PodSelector, true, true)
	compare("policyTypes", want.PolicyTypes, is.PolicyTypes, true, len(is.PolicyTypes) > 0)
	return findings
}

// sameSpec compares the stored form, which is many times faster than looking at
// every field, and nearly always enough: most objects are as declared. It is no
// proof that they differ.
func sameSpec(a, b *networkingv1.NetworkPolicySpec) bool {
	x, errX := a.Marshal()
	y, errY := b.Marshal()
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

func whoWrote(live *networkingv1.NetworkPolicy, path ...any) Manager {
	who := Who(live.ManagedFields, v1alpha1.FieldManagerNetwork, path...)
	who.Declares = false // the object is ours: nobody else can declare it
	return who
}

func text(value any) string {
	out, err := json.Marshal(value)
	if err != nil {
		return err.Error()
	}
	return string(out)
}
