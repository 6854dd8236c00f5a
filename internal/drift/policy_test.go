// SPDX-License-Identifier: Apache-2.0

package drift_test

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
)

type edit func(*v1alpha1.ControlPlaneNetworkPolicy)

// policy returns a policy for which everything may be written: it enforces, and was verified.
func policy(name string, edits ...edit) v1alpha1.ControlPlaneNetworkPolicy {
	p := v1alpha1.ControlPlaneNetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name, Generation: 3, Finalizers: []string{v1alpha1.Finalizer}},
		Spec: v1alpha1.ControlPlaneNetworkPolicySpec{
			Mode:           v1alpha1.ModeEnforce,
			NodeSelector:   labelled("node-role.kubernetes.io/control-plane", ""),
			DeletionPolicy: v1alpha1.DeletionRevert,
		},
		Status: v1alpha1.ControlPlaneNetworkPolicyStatus{
			ObservedGeneration: 3,
			Conditions:         []metav1.Condition{{Type: v1alpha1.ConditionVerified, Status: metav1.ConditionTrue, ObservedGeneration: 3}},
		},
	}
	for _, edit := range edits {
		edit(&p)
	}
	return p
}

func labelled(key string, value v1alpha1.LabelValue) v1alpha1.LabelSelector {
	return v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{key: value}}
}

func audits(p *v1alpha1.ControlPlaneNetworkPolicy)      { p.Spec.Mode = v1alpha1.ModeAudit }
func suspended(p *v1alpha1.ControlPlaneNetworkPolicy)   { p.Spec.Suspend = true }
func orphans(p *v1alpha1.ControlPlaneNetworkPolicy)     { p.Spec.DeletionPolicy = v1alpha1.DeletionOrphan }
func editedSince(p *v1alpha1.ControlPlaneNetworkPolicy) { p.Generation++ }
func deleted(p *v1alpha1.ControlPlaneNetworkPolicy) {
	p.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
}

func compile(policies ...v1alpha1.ControlPlaneNetworkPolicy) []plan.Policy {
	return plan.Compile(policies)
}

// owns returns the entry of a manager in managedFields; a path is a list of names of fields.
func owns(manager string, operation metav1.ManagedFieldsOperationType, minute int, paths ...[]any) metav1.ManagedFieldsEntry {
	var set fieldpath.Set
	for _, path := range paths {
		set.Insert(fieldpath.MakePathOrDie(path...))
	}
	raw, err := set.ToJSON()
	if err != nil {
		panic(fmt.Sprintf("a set of paths is always JSON: %v", err))
	}
	when := metav1.NewTime(time.Unix(int64(minute)*60, 0))
	return metav1.ManagedFieldsEntry{
		Manager: manager, Operation: operation, Time: &when, FieldsType: "FieldsV1",
		FieldsV1: metav1.NewFieldsV1(string(raw)),
	}
}

const (
	apply = metav1.ManagedFieldsOperationApply
	set   = metav1.ManagedFieldsOperationUpdate
)

func path(names ...any) []any { return names }
