// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"cmp"
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/intent"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
)

// Diff is the difference between a policy's planned objects and the live managed objects.
type Diff struct {
	// Writes and Removals repair the difference, in this order. Removals are deletions, and
	// changes after which an object allows less.
	Writes   []Write
	Removals []Write
	// Taken are needed names of foreign objects.
	Taken []string
}

// Write is one object to write or delete.
type Write struct {
	Object   Object
	Desired  plan.Object // nil: to be deleted
	Live     plan.Object // nil: to be created
	Findings []Finding

	// Node is the only node that an object for hosts concerns; empty if there is none.
	Node string
	// Stage is the write stage of an object for hosts.
	Stage int
	// RollsBack tells that the write only ends a restriction of the node, or gives the node an
	// older ruleset in place of a newer one. Such a write never waits.
	RollsBack bool
}

// LiveVersion returns the object's version behind the decision; empty if the object is missing.
func (w Write) LiveVersion() string {
	if w.Live == nil {
		return ""
	}
	return w.Live.GetResourceVersion()
}

// IsConflicted tells that another manager has decided about the object, so the operator does
// not write the object.
func (w Write) IsConflicted() bool {
	return slices.ContainsFunc(w.Findings, func(f Finding) bool { return f.State == v1alpha1.StateConflicted })
}

// CompareNetworkPolicies compares a policy's planned NetworkPolicies with the live ones.
// NetworkPolicies of held components and of an orphaned policy stay. A rollback does not wait
// for a deleted NetworkPolicy with a foreign finalizer: any writer could set a finalizer, and
// block the deletion of a policy for ever.
func CompareNetworkPolicies(policy *plan.Policy, network plan.Network, live []networkingv1.NetworkPolicy) Diff {
	return compareNetworkPolicies(policy, network, live, nil)
}

func compareNetworkPolicies(policy *plan.Policy, network plan.Network, live []networkingv1.NetworkPolicy, inSync *InSync) Diff {
	if policy.Intent() == intent.Orphan {
		return Diff{}
	}
	desired := make([]plan.Object, 0, len(network.Objects))
	for _, object := range network.Objects {
		desired = append(desired, object)
	}
	there := make([]plan.Object, 0, len(live))
	for i := range live {
		there = append(there, &live[i])
	}
	last := lastReport(policy, policy.Status.NetworkPolicies, len(network.Objects)+len(network.Held))
	return compareAll(policy, desired, there, last.wasInPlace, func(live plan.Object) bool {
		component, ours := madeFor(live, policy.Name)
		isDeleted := policy.RollsBack() && live.GetDeletionTimestamp() != nil
		return ours && !isHeld(network, component) && !isDeleted
	}, inSync)
}

// compareAll compares desired with live objects, and plans the deletion of obsolete live
// objects.
func compareAll(
	policy *plan.Policy, desired, live []plan.Object, wasInPlace, obsolete func(plan.Object) bool, inSync *InSync,
) Diff {
	var diff Diff
	there := make(map[Object]plan.Object, len(live))
	for _, object := range live {
		there[ObjectOf(object)] = object
	}
	for _, want := range desired {
		object := ObjectOf(want)
		is, found := there[object]
		delete(there, object)
		if found && inSync.has(want, is) {
			continue
		}
		if found && !mayTakeOver(is, policy.Name) {
			diff.Taken = append(diff.Taken, describeTaken(object, is))
			continue
		}
		findings := CompareOwned(policy, want, is, wasInPlace(want))
		if len(findings) > 0 {
			diff.Writes = append(diff.Writes, Write{Object: object, Desired: want, Live: is, Findings: findings})
		} else {
			inSync.note(want, is)
		}
	}
	for object, left := range there {
		if obsolete(left) {
			diff.Removals = append(diff.Removals, Write{Object: object, Live: left, Findings: []Finding{unexpectedFinding(policy, object)}})
		}
	}
	// A cache lists in no particular order.
	slices.SortFunc(diff.Removals, func(a, b Write) int { return CompareFindings(a.Findings[0], b.Findings[0]) })
	return diff
}

// ObjectOf returns the kind, namespace and name of an object. Objects from a cache do not
// contain their kind.
func ObjectOf(object plan.Object) Object {
	kind := cmp.Or(backend.TraitsOf(object).Kind.Kind, object.GetObjectKind().GroupVersionKind().Kind)
	if _, is := object.(*networkingv1.NetworkPolicy); is {
		kind = KindNetworkPolicy
	}
	return Object{Kind: kind, Namespace: object.GetNamespace(), Name: object.GetName()}
}

// madeFor tells whether the operator made the NetworkPolicy for the policy, and for which
// component. The name decides, because labels can be copied and removed.
func madeFor(live plan.Object, policy string) (component string, made bool) {
	component, named := strings.CutPrefix(live.GetName(), plan.NetworkPolicyName(policy, ""))
	return component, named && backend.IsWrittenByOperator(live)
}

// mayTakeOver tells whether the operator may write an object with a managed name: the
// operator wrote the object, or the object is shared by design, or the object carries the
// operator's label and is not declared elsewhere. An object in git with the operator's name
// and label existed before and would be restored from git, and must not be deleted with the
// policy.
func mayTakeOver(live plan.Object, policy string) bool {
	if backend.IsWrittenByOperator(live) || plan.IsShared(live) {
		return true
	}
	if live.GetLabels()[v1alpha1.LabelPolicy] != policy {
		return false
	}
	return declaredElsewhere(live) == "" || restoredEndpoint(live)
}

// restoredEndpoint tells whether a host endpoint is a former write of the operator,
// restored with kubectl, such as from a backup. Only a host endpoint makes policies deny
// packets, so the rollback of a restored endpoint must be possible.
func restoredEndpoint(live plan.Object) bool {
	return backend.TraitsOf(live).Stage == backend.StageEndpoints && plan.MatchesStamp(live) && !keptByTool(live)
}

// describeTaken describes a foreign object, and names the manager that declares the object.
func describeTaken(object Object, live plan.Object) string {
	if by := declaredElsewhere(live); by != "" {
		return object.String() + ", which " + managerText(by) + " declares"
	}
	return object.String()
}

// report is the last status of one part of a policy.
type report struct {
	// whole tells that all objects wanted now were in place.
	whole bool
	// drifted are the objects that were not in place, and had been before.
	drifted map[Object]bool
}

// lastReport returns the report in the status, given the number of wanted objects. A report
// about another generation or fewer objects, such as objects of fewer nodes, does not prove
// that a missing object existed before. After a rollback the report is no proof either,
// because the operator has deleted the objects.
func lastReport(policy *plan.Policy, count v1alpha1.SyncCount, objects int) report {
	status := policy.Status
	programmed := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionProgrammed)
	rolledBack := programmed != nil && programmed.Reason == v1alpha1.ReasonRolledBack
	if status.ObservedGeneration != policy.Generation || rolledBack {
		return report{}
	}
	r := report{drifted: map[Object]bool{}}
	if count.Declared != nil && count.InSync != nil {
		r.whole = *count.Declared == *count.InSync && int(*count.Declared) == objects
	}
	for _, d := range status.Drift {
		if d.State == v1alpha1.StateDrifted || d.State == v1alpha1.StateContested {
			r.drifted[Object{d.Kind, d.Namespace, d.Name}] = true
		}
	}
	return r
}

func (r report) wasInPlace(object plan.Object) bool { return r.whole || r.drifted[ObjectOf(object)] }

func isHeld(network plan.Network, component string) bool {
	return slices.ContainsFunc(network.Held, func(h plan.Held) bool { return h.Component == component })
}

// IsOnlyWriter tells whether the operator is the object's only writer. The content is no proof,
// because an API server may fill in defaults.
func IsOnlyWriter(live plan.Object) bool {
	return !slices.ContainsFunc(live.GetManagedFields(), func(entry metav1.ManagedFieldsEntry) bool {
		return entry.Manager != v1alpha1.FieldManagerNetwork
	})
}

// FieldDisappears tells whether a field disappears when the operator stops applying the field:
// the operator applied the field, and no other manager holds the field.
func FieldDisappears(live plan.Object, path ...any) bool {
	entries := live.GetManagedFields()
	return HoldsField(entries, v1alpha1.FieldManagerNetwork, path...) && ManagerOf(entries, v1alpha1.FieldManagerNetwork, path...).Name == ""
}
